"""Usage: reports as they came, running totals, licenses that may pass a limit, and holds that have ended."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.licensing.counting import EventAction
from db.models.columns import BigInt, CreatedAt, Table, UpdatedAt, enum_type


class UsageEvent(Table):
    """One usage report, once: facts are recorded even over the limit, and flagged there.

    `seq` numbers the events of one license and resource without a gap, in the order they changed the total: each
    `used_after` follows from the one before it, so anybody can add up again what was counted.

    It has no foreign keys: its total has them, and is locked before an event is written (docs/decisions/0013).
    """

    __tablename__ = "usage_events"
    __table_args__ = (
        Index("ix_usage_events_license_id_occurred_at", "license_id", "resource", "occurred_at"),
        CheckConstraint("count >= 0", name="count_not_negative"),
    )

    license_id: Mapped[UUID] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    resource: Mapped[str]
    action: Mapped[EventAction] = mapped_column(enum_type(EventAction, "usage_action"))
    count: Mapped[BigInt]
    body_hash: Mapped[bytes]
    reservation_id: Mapped[str | None]
    used_after: Mapped[BigInt]
    seq: Mapped[BigInt]
    is_overage: Mapped[bool] = mapped_column(default=False)
    occurred_at: Mapped[datetime]
    created_at: Mapped[CreatedAt]


class LicenseUsage(Table):
    """The running total of one resource, and how many events it contains.

    `used` may pass below zero while reports arrive out of order; shown as 0. `below_since`: since when it is below,
    and NULL where it is not (a trigger sets it on every write). `corrected_at`: when it was last brought to 0 from
    there by a correction; the panel's next full count clears it.
    """

    __tablename__ = "license_usage"
    __table_args__ = (
        ForeignKeyConstraint(["license_id"], ["licenses.id"]),
        Index(
            "ix_license_usage_below_zero",
            "license_id",
            postgresql_where=text("below_since IS NOT NULL OR corrected_at IS NOT NULL"),
        ),
    )

    license_id: Mapped[UUID] = mapped_column(primary_key=True)
    resource: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    used: Mapped[BigInt] = mapped_column(default=0)
    events: Mapped[BigInt] = mapped_column(default=0, server_default="0")
    below_since: Mapped[datetime | None]
    corrected_at: Mapped[datetime | None]
    version: Mapped[BigInt] = mapped_column(default=1)
    updated_at: Mapped[UpdatedAt]


class OverageCandidate(Table):
    """A license that may pass a limit, noted by triggers when a total rose past it or a limit fell.

    All licenses that do are here. Those that no longer do are removed when nothing was noted of them for a while.
    """

    __tablename__ = "overage_candidates"

    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    noted_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class HoldSettlement(Table):
    """A reservation whose report is recorded, until the relay has ended it in Redis together with the new total."""

    __tablename__ = "hold_settlements"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    license_id: Mapped[UUID] = mapped_column(index=True)
    resource: Mapped[str]
    reservation_id: Mapped[str]
