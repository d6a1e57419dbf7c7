"""Usage tables: reported events, running totals, licenses that may exceed a limit, and holds that have ended."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Identity, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.licensing.counting import EventAction
from db.models.columns import BigInt, CreatedAt, Table, UpdatedAt, enum_type


class UsageEvent(Table):
    """One report, stored once. A report over the limit is stored as well, and flagged.

    `seq` numbers the events of one license and resource without a gap, in the order in which they changed the total.
    Each `used_after` follows from the one before it, so a total can be recomputed from its events.

    The table has no foreign keys: its total has them, and every writer of an event locks the total
    (docs/decisions/0013).
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

    `used` may fall below zero while reports arrive out of order; it is shown as 0. `below_since`: since when it is
    below zero, else NULL (a trigger ensures that). `corrected_at`: when a correction last brought it back to 0; the
    panel's next full count clears it.
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
    """A license that may exceed a limit. Triggers write the row when a total rises above a limit or a limit falls.

    Every license that exceeds a limit has a row. A periodic job deletes the rows of the others some time later.
    """

    __tablename__ = "overage_candidates"

    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    noted_at: Mapped[datetime] = mapped_column(server_default=text("np_statement_now()"))


class HoldSettlement(Table):
    """A reservation whose report is recorded. The relay ends it in Redis together with the new total."""

    __tablename__ = "hold_settlements"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    license_id: Mapped[UUID] = mapped_column(index=True)
    resource: Mapped[str]
    reservation_id: Mapped[str]
