"""Pydantic models of requests and answers."""

import uuid
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field  # noqa: TID251  # FastAPI's own


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Money(BaseModel):
    amount: int
    currency: str


class Limited(FromRow):
    max_accounts: int | None
    max_domains: int | None
    max_databases: int | None
    max_emails: int | None
    max_storage_gb: int | None


class PlanOut(Limited):
    id: uuid.UUID
    name: str
    license_type: str
    description: str
    price_monthly: Money
    price_yearly: Money
    features: dict[str, Any]


class PlansOut(BaseModel):
    items: list[PlanOut]
    total: int
    limit: int
    offset: int


class MeOut(FromRow):
    id: uuid.UUID
    email: str
    full_name: str
    company_name: str | None
    role: str
    email_verified: bool
    created_at: datetime


class MeIn(BaseModel):
    full_name: str | None = Field(None, min_length=1, max_length=200)
    company_name: str | None = Field(None, min_length=1, max_length=200)


class LicenseOut(Limited):
    id: uuid.UUID
    plan: str
    license_type: str
    status: str
    status_reason: str | None
    features: dict[str, Any]
    fingerprint_policy: str
    fingerprint: str | None
    nextpanel_user_id: uuid.UUID | None
    nextpanel_login_url: str | None
    provisioning: str
    activation_date: datetime
    expiry_date: datetime | None
    grace_until: datetime | None
    auto_renew: bool
    created_at: datetime
    updated_at: datetime


class LicensesOut(BaseModel):
    items: list[LicenseOut]
    total: int
    limit: int
    offset: int


class ResourceOut(BaseModel):
    used: int
    held: int | None
    limit: int | None
    over: int


class UsageOut(BaseModel):
    resources: dict[str, ResourceOut]


class InvoiceOut(BaseModel):
    id: uuid.UUID
    number: str | None
    subscription_id: uuid.UUID | None
    amount_due: Money
    amount_paid: Money
    status: str
    invoice_pdf_url: str | None
    created_at: datetime
    due_date: datetime | None
    paid_at: datetime | None


class InvoicesOut(BaseModel):
    items: list[InvoiceOut]
    total: int
    limit: int
    offset: int


class CheckoutIn(BaseModel):
    plan_id: uuid.UUID
    interval: Literal["month", "year"]


class CheckoutOut(BaseModel):
    url: str
    session_id: uuid.UUID


class CurrentUser(BaseModel):
    id: uuid.UUID
    role: str


class UsedOut(BaseModel):
    used: int
    limit: int | None
    over: int


class CardOut(BaseModel):
    id: uuid.UUID
    plan: str
    license_type: str
    status: str
    provisioning: str
    subscription_id: uuid.UUID | None
    expiry_date: datetime | None
    grace_until: datetime | None
    auto_renew: bool
    usage: dict[str, UsedOut]


class AttentionOut(BaseModel):
    kind: str
    license_id: uuid.UUID | None = None
    subscription_id: uuid.UUID | None = None
    at: datetime | None = None
    resource: str | None = None
    over: int | None = None


class RenewalOut(BaseModel):
    at: datetime
    subscription_id: uuid.UUID
    license_id: uuid.UUID
    plan: str
    interval: str
    amount: Money


class CountsOut(BaseModel):
    licenses: int
    active_licenses: int
    subscriptions: int
    open_invoices: int
    invoices: int


class OverviewOut(BaseModel):
    counts: CountsOut
    attention: list[AttentionOut]
    licenses: list[CardOut]
    next_renewal: RenewalOut | None
    recent_invoices: list[InvoiceOut]
