"""Purchases: checkouts, subscriptions, invoices, payments, domains.

Subscriptions, invoices and payments are local copies of Stripe's objects. They change only when those are read again.
"""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql import func

from db.clock import NOW
from db.models.columns import BigInt, CreatedAt, RowId, Table, UpdatedAt, enum_type
from db.models.licensing import Interval


class CheckoutStatus(enum.StrEnum):
    """State of a purchase: open, complete (paid), expired (the page was left, or nobody paid in time)."""

    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


class Checkout(Table):
    """A customer's intent to buy, written before Stripe is asked; its id is the idempotency key of that call."""

    __tablename__ = "checkout_sessions"
    __table_args__ = (CheckConstraint("quantity >= 1 AND (quantity = 1 OR license_id IS NULL)", name="quantity"),)

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    interval: Mapped[Interval] = mapped_column(enum_type(Interval, "billing_interval"))
    status: Mapped[CheckoutStatus] = mapped_column(
        enum_type(CheckoutStatus, "checkout_status"), default=CheckoutStatus.OPEN
    )
    quantity: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    currency: Mapped[str | None]
    """The one that was asked for; None: the customer's, or the plan's own."""
    promotion_code: Mapped[str | None]
    is_trial: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    license_id: Mapped[UUID | None] = mapped_column(
        # The two tables name each other.
        ForeignKey(
            "licenses.id",
            use_alter=True,
            deferrable=True,
            initially="DEFERRED",
            name="fk_checkout_sessions_license_id",
        )
    )
    """The license that has ended and is bought again."""
    refused_because: Mapped[str | None]
    """Why nothing was issued for what was confirmed on Stripe's page; nothing was charged then."""
    stripe_session_id: Mapped[str | None] = mapped_column(unique=True)
    url: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


Index("ix_checkout_sessions_license_id", Checkout.license_id, postgresql_where=text("license_id IS NOT NULL"))


class Trial(Table):
    """The trial that a user had, with the card that it was begun with: each has one."""

    __tablename__ = "trials"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    card_fingerprint: Mapped[str] = mapped_column(unique=True)
    checkout_id: Mapped[UUID] = mapped_column(ForeignKey("checkout_sessions.id"))
    created_at: Mapped[CreatedAt]


class SubscriptionStatus(enum.StrEnum):
    """State of a subscription. `past_due`: a renewal is unpaid and is being retried."""

    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELLED = "cancelled"
    TRIALING = "trialing"


class Subscription(Table):
    """A subscription at the plan that is in force. A change that is not in force yet is in `pending_…`.

    `plan_paid_until` is the end of the period that was paid at this plan. `pending_from` is when the pending plan takes
    effect. NULL means: as soon as it is paid, at `pending_payment_url`.
    """

    __tablename__ = "subscriptions"
    __table_args__ = (
        Index("ix_subscriptions_mirrored_at", "mirrored_at", postgresql_where=text("status <> 'cancelled'")),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), index=True)
    stripe_subscription_id: Mapped[str] = mapped_column(unique=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    interval: Mapped[Interval] = mapped_column(enum_type(Interval, "billing_interval"))
    status: Mapped[SubscriptionStatus] = mapped_column(enum_type(SubscriptionStatus, "subscription_status"))
    current_period_start: Mapped[datetime]
    current_period_end: Mapped[datetime]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    quantity: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    ends_at: Mapped[datetime | None]
    """When it ends or has ended; None: it renews."""
    trial_ends_at: Mapped[datetime | None]
    """The end of its trial, also of one that is over."""
    stripe_price_id: Mapped[str | None]
    """The price that is billed: it stays when the plan's changes. NULL: not read from Stripe yet."""
    renewal_amount: Mapped[BigInt | None]
    """Of each later period at this price, before taxes, discounts and credit. NULL: not read from Stripe yet."""
    renewal_currency: Mapped[str | None]
    discount: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """The one that reduces the next invoice: the facts of gateways/stripe/facts.py."""
    next_amount: Mapped[BigInt | None]
    """What the next invoice charges, by Stripe's own reckoning. NULL: not asked yet, or there is none."""
    next_amount_for: Mapped[str | None]
    """For which price, quantity, discount and period that was asked."""
    plan_paid_until: Mapped[datetime]
    pending_plan_id: Mapped[UUID | None] = mapped_column(ForeignKey("plans.id"))
    pending_interval: Mapped[Interval | None] = mapped_column(enum_type(Interval, "billing_interval"))
    pending_quantity: Mapped[int | None]
    pending_from: Mapped[datetime | None]
    pending_payment_url: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    """When it ended, or was decided to end: what is paid for a later time goes back."""
    unknown_price_id: Mapped[str | None]
    """The price at Stripe that no plan has, while it is at one: the plan in force stays."""
    renewal_told_for: Mapped[datetime | None]
    """The end of the period of whose renewal the owner was told."""
    paused_for_dispute: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    mirrored_at: Mapped[datetime] = mapped_column(server_default=NOW)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class LicenseSubscription(Table):
    """A license that a subscription pays for, or paid for until `ended_at`. `subscriptions.license_id` is the first."""

    __tablename__ = "license_subscriptions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["license_id", "user_id"],
            ["licenses.id", "licenses.user_id"],
            name="fk_license_subscriptions_license_id_user_id",
        ),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"), primary_key=True)
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), primary_key=True, index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    position: Mapped[int]
    ends_with_period: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether its owner named it as one that ends when the quantity falls."""
    ended_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class ChangeDirection(enum.StrEnum):
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"


class PlanChange(Table):
    """A customer's request for another plan, written before Stripe is asked; its id is the idempotency key there."""

    __tablename__ = "plan_changes"

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    interval: Mapped[Interval] = mapped_column(enum_type(Interval, "billing_interval"))
    stripe_price_id: Mapped[str]
    direction: Mapped[ChangeDirection] = mapped_column(enum_type(ChangeDirection, "plan_change_direction"))
    quantity: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    keeps_price: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether the number alone changes: the price is not named to Stripe then, because it may be archived."""
    end_license_ids: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"), default=list)
    """The licenses that end with the period, where there are to be fewer."""
    proration_date: Mapped[datetime | None]
    """The instant of the preview that was seen; None: when the change is made."""
    created_at: Mapped[CreatedAt]


class InvoiceStatus(enum.StrEnum):
    """State of an invoice, as Stripe names it. `void`: cancelled; `uncollectible`: given up."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class Invoice(Table):
    __tablename__ = "invoices"
    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    stripe_invoice_id: Mapped[str] = mapped_column(unique=True)
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscriptions.id"), index=True)
    number: Mapped[str | None]
    amount_due: Mapped[BigInt]
    amount_paid: Mapped[BigInt]
    currency: Mapped[str]
    status: Mapped[InvoiceStatus] = mapped_column(enum_type(InvoiceStatus, "invoice_status"))
    invoice_pdf_url: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    due_date: Mapped[datetime | None]
    paid_at: Mapped[datetime | None]
    subtotal: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    discount: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    tax: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    total: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    balance_used: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    """What the customer's balance at Stripe paid of it; negative: what was owed there and is paid with it."""
    amount_remaining: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    lines: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    credit_notes: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    payment_url: Mapped[str | None]
    first_failed_at: Mapped[datetime | None]
    """Of a renewal: when the first try to collect it failed, from which the steps of dunning are counted."""
    next_attempt_at: Mapped[datetime | None]
    needs_owner: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Whether the bank wants the owner to confirm the payment, which no further try of Stripe's can do."""


Index(
    "ix_invoices_first_failed_at",
    Invoice.first_failed_at,
    postgresql_where=text("status = 'open' AND first_failed_at IS NOT NULL"),
)
Index("ix_invoices_number", func.upper(Invoice.number).label("folded"), postgresql_ops={"folded": "text_pattern_ops"})


class DunningStepRow(Table):
    """A step after a failed payment that was taken, or passed over because a later one was due as well."""

    __tablename__ = "dunning_steps"

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoices.id"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[str]
    passed_over: Mapped[bool]
    taken_at: Mapped[CreatedAt]


class PaymentStatus(enum.StrEnum):
    """State of a payment. `pending`: the bank has not answered yet."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"
    REFUNDED = "refunded"


class Payment(Table):
    """A payment or an attempt. Partitioned by month of `created_at`, so that is part of the primary key."""

    __tablename__ = "payments"
    __table_args__ = (
        Index("ix_payments_user_id_created_at", "user_id", "created_at"),
        Index("ix_payments_created_at", "created_at", "id"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    id: Mapped[RowId]
    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"), index=True)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"), index=True)
    stripe_payment_intent_id: Mapped[str] = mapped_column(index=True)
    stripe_charge_id: Mapped[str | None] = mapped_column(index=True)
    amount: Mapped[BigInt]
    refunded: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    """What went back or is on its way, in refunds and lost disputes."""
    currency: Mapped[str]
    failure_code: Mapped[str | None]
    failure_message: Mapped[str | None]
    status: Mapped[PaymentStatus] = mapped_column(enum_type(PaymentStatus, "payment_status"))
    payment_method: Mapped[str | None]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))


class PaymentIntent(Table):
    """Unique registry of payment intents, with each one's payment row. A unique index over partitions cannot do it."""

    __tablename__ = "payment_intents"

    stripe_payment_intent_id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[UUID]
    payment_created_at: Mapped[datetime]


class BillingSettings(Table):
    """One row, or none while nobody has changed the default: the policy of core/billing_policy.py."""

    __tablename__ = "billing_settings"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, default=True, server_default=text("true"))
    policy: Mapped[dict[str, Any]]


class BillingDetailsRow(Table):
    """To whom the user's invoices are made out; no row while that is the account itself. Mirrored to Stripe."""

    __tablename__ = "billing_details"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    name: Mapped[str]
    company: Mapped[str | None]
    address: Mapped[dict[str, Any] | None]
    tax_ids: Mapped[list[Any]]
    email: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class Registrar(enum.StrEnum):
    RESELLERCLUB = "resellerclub"
    NAMECHEAP = "namecheap"
    OPENSRS = "opensrs"


class DomainStatus(enum.StrEnum):
    ACTIVE = "active"
    PENDING = "pending"
    EXPIRED = "expired"
    TRANSFERRED = "transferred"


class Domain(Table):
    __tablename__ = "domains"

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"), index=True)
    domain_name: Mapped[str] = mapped_column(unique=True)
    registrar: Mapped[Registrar] = mapped_column(enum_type(Registrar, "registrar"))
    registrar_domain_id: Mapped[str | None]
    registration_date: Mapped[datetime | None]
    expiry_date: Mapped[datetime | None]
    auto_renew: Mapped[bool] = mapped_column(default=True)
    nameservers: Mapped[list[str]]
    status: Mapped[DomainStatus] = mapped_column(enum_type(DomainStatus, "domain_status"))
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
