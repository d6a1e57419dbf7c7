"""ORM models of the billing API's tables, with the columns that the answers show."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, func
from sqlalchemy.dialects.postgresql import ENUM, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Table(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSONB, datetime: TIMESTAMP(timezone=True)}  # noqa: RUF012  # as its manual has it


class User(Table):
    __tablename__ = "users"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    full_name: Mapped[str]
    company_name: Mapped[str | None]
    stripe_customer_id: Mapped[str | None]
    role: Mapped[str]
    email_verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(onupdate=func.now())

    @property
    def email_verified(self) -> bool:
        return self.email_verified_at is not None


class Plan(Table):
    __tablename__ = "plans"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    license_type: Mapped[str]
    description: Mapped[str]
    price_monthly: Mapped[int]
    price_yearly: Mapped[int]
    currency: Mapped[str]
    features: Mapped[dict[str, Any]]
    stripe_price_id_monthly: Mapped[str | None]
    is_active: Mapped[bool]
    max_accounts: Mapped[int | None]
    max_domains: Mapped[int | None]
    max_databases: Mapped[int | None]
    max_emails: Mapped[int | None]
    max_storage_gb: Mapped[int | None]


class License(Table):
    __tablename__ = "licenses"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    plan_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("plans.id"))
    license_type: Mapped[str]
    status: Mapped[str]
    status_reason: Mapped[str | None]
    features: Mapped[dict[str, Any]]
    fingerprint_policy: Mapped[str]
    fingerprint: Mapped[str | None]
    nextpanel_user_id: Mapped[uuid.UUID | None]
    nextpanel_login_url: Mapped[str | None]
    provisioning: Mapped[str]
    activation_date: Mapped[datetime]
    expiry_date: Mapped[datetime | None]
    grace_until: Mapped[datetime | None]
    auto_renew: Mapped[bool]
    max_accounts: Mapped[int | None]
    max_domains: Mapped[int | None]
    max_databases: Mapped[int | None]
    max_emails: Mapped[int | None]
    max_storage_gb: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    of_plan: Mapped[Plan] = relationship()

    @property
    def plan(self) -> str:
        return self.of_plan.name


class Usage(Table):
    __tablename__ = "license_usage"
    license_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    resource: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    used: Mapped[int]


class Invoice(Table):
    __tablename__ = "invoices"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    subscription_id: Mapped[uuid.UUID | None]
    number: Mapped[str | None]
    amount_due: Mapped[int]
    amount_paid: Mapped[int]
    currency: Mapped[str]
    status: Mapped[str]
    invoice_pdf_url: Mapped[str | None]
    created_at: Mapped[datetime]
    due_date: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]


class Checkout(Table):
    __tablename__ = "checkout_sessions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID]
    plan_id: Mapped[uuid.UUID]
    interval: Mapped[str] = mapped_column(ENUM("month", "year", name="billing_interval", create_type=False))
    status: Mapped[str] = mapped_column(
        ENUM("open", "complete", "expired", name="checkout_status", create_type=False), default="open"
    )
    stripe_session_id: Mapped[str | None]
    url: Mapped[str | None]


class Subscription(Table):
    __tablename__ = "subscriptions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID]
    license_id: Mapped[uuid.UUID]
    plan_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("plans.id"))
    interval: Mapped[str]
    status: Mapped[str] = mapped_column(
        ENUM("active", "past_due", "cancelled", "trialing", name="subscription_status", create_type=False)
    )
    current_period_end: Mapped[datetime]
    cancel_at_period_end: Mapped[bool]
    pending_payment_url: Mapped[str | None]
    plan: Mapped[Plan] = relationship()
