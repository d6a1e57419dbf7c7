"""Money that goes back: refunds and disputes, each of one payment.

Both are local copies of Stripe's objects; a refund that we order is a row before Stripe is asked. `effect` is what
became of the license, `effect_at` when that was carried out, so that it happens once. `payment_created_at` names the
payment's partition; there is no foreign key, because a partition that one leads to could not be detached.
"""

import enum
from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, RowId, Table, enum_type


class RefundStatus(enum.StrEnum):
    """State of a refund. `pending`: not sent yet, or the bank has not answered. `failed`: the money came back to us."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class RefundOrigin(enum.StrEnum):
    """Who ordered it: an administrator, somebody at Stripe, or the rule that money for what has ended goes back."""

    STAFF = "staff"
    STRIPE = "stripe"
    AFTER_END = "after_end"


class Effect(enum.StrEnum):
    """What becomes of the license."""

    KEEP = "keep"
    SUSPEND = "suspend"
    END = "end"


class Refund(Table):
    """A refund. `note` is staff's. `sent_at` and `send_generation` belong to the key under which Stripe was asked."""

    __tablename__ = "refunds"
    __table_args__ = (
        Index("ix_refunds_payment_id", "payment_id", "created_at"),
        Index("uq_refunds_after_end", "payment_id", unique=True, postgresql_where=text("origin = 'after_end'")),
        CheckConstraint("amount > 0", name="amount"),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    payment_id: Mapped[UUID]
    payment_created_at: Mapped[datetime]
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"), index=True)
    stripe_refund_id: Mapped[str | None] = mapped_column(unique=True)
    origin: Mapped[RefundOrigin] = mapped_column(enum_type(RefundOrigin, "refund_origin"))
    amount: Mapped[BigInt]
    currency: Mapped[str]
    status: Mapped[RefundStatus] = mapped_column(enum_type(RefundStatus, "refund_status"))
    reason: Mapped[str | None]
    note: Mapped[str | None]
    actor_id: Mapped[UUID | None]
    effect: Mapped[Effect | None] = mapped_column(enum_type(Effect, "license_effect"))
    """NULL: as the billing policy has it when the refund is done."""
    effect_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]
    failure: Mapped[str | None]
    sent_at: Mapped[datetime | None]
    send_generation: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    created_at: Mapped[datetime]


class Dispute(Table):
    """A dispute, an inquiry, or one that the network prevented; `status` is Stripe's word."""

    __tablename__ = "disputes"
    __table_args__ = (
        Index("ix_disputes_payment_id", "payment_id", "created_at"),
        Index("ix_disputes_created_at", "created_at", "id"),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    payment_id: Mapped[UUID]
    payment_created_at: Mapped[datetime]
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"), index=True)
    stripe_dispute_id: Mapped[str] = mapped_column(unique=True)
    amount: Mapped[BigInt]
    currency: Mapped[str]
    reason: Mapped[str]
    status: Mapped[str]
    due_by: Mapped[datetime | None]
    has_evidence: Mapped[bool]
    submissions: Mapped[int]
    effect: Mapped[Effect | None] = mapped_column(enum_type(Effect, "license_effect"))
    effect_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
