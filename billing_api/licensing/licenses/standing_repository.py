"""SQL of a license's standing: the causes for which it is suspended, and its totals when it is bought again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from core.licensing.state import Cause, Status
from db.models.licensing import License, LicenseSuspension
from db.unit_of_work import PrivilegedTransaction, Transaction

_ZULU: Final = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

# The count that a panel would report for an account that is new: nothing. As an event of its own, so that each
# `used_after` follows from the one before it.
_START_AGAIN: Final = text(
    """
    WITH old AS (
        SELECT license_id, resource, user_id, events FROM license_usage WHERE license_id = :license_id FOR UPDATE
    ), told AS (
        INSERT INTO usage_events (license_id, idempotency_key, user_id, resource, action, count, body_hash, used_after,
                                  seq, is_overage, occurred_at)
        SELECT license_id, :key || resource, user_id, resource, 'set', 0, sha256(convert_to(:key || resource, 'UTF8')),
            0, events + 1, false, :now
        FROM old
    )
    UPDATE license_usage SET used = 0, events = old.events + 1, below_since = NULL, corrected_at = NULL
    FROM old WHERE (license_usage.license_id, license_usage.resource) = (old.license_id, old.resource)
    """
)


def open_causes_shown(*, to_staff: bool) -> ScalarSelect[Any]:
    """SQL: the open causes of a license as a JSON list, the oldest first; `[]` where there are none."""
    row = LicenseSuspension
    shown = [
        *("cause", row.cause),
        *("since", func.to_char(func.timezone("UTC", row.since), _ZULU)),
        *("message", row.message),
        *(("reason", row.reason) if to_staff else ()),
    ]
    one = func.jsonb_build_object(*shown, type_=JSONB)
    listed = func.coalesce(func.jsonb_agg(one.op("ORDER BY")(row.since), type_=JSONB), func.jsonb_build_array())
    mine = select(listed).where(row.license_id == License.id, row.ended_at.is_(None))
    return mine.correlate(License).scalar_subquery()


async def open_rows(tx: Transaction, license_id: UUID) -> Sequence[LicenseSuspension]:
    """The oldest first. Lock the license before."""
    mine = (LicenseSuspension.license_id == license_id, LicenseSuspension.ended_at.is_(None))
    return (await tx.session.scalars(select(LicenseSuspension).where(*mine).order_by(LicenseSuspension.since))).all()


async def close(tx: PrivilegedTransaction, license_id: UUID, causes: frozenset[Cause], now: datetime) -> None:
    mine = (LicenseSuspension.license_id == license_id, LicenseSuspension.cause.in_(causes))
    ending = update(LicenseSuspension).where(*mine, LicenseSuspension.ended_at.is_(None)).values(ended_at=now)
    await tx.session.execute(ending)


async def open_(tx: PrivilegedTransaction, row: LicenseSuspension) -> None:
    """Opens a cause, or gives the open row of this cause the latest words; it stays open since when it was."""
    columns = ("id", "user_id", "license_id", "cause", "since", "reason", "message")
    statement = insert(LicenseSuspension).values({name: getattr(row, name) for name in columns})
    words = {"reason": row.reason, "message": row.message}
    await tx.session.execute(
        statement.on_conflict_do_update(
            index_elements=["license_id", "cause"], index_where=LicenseSuspension.ended_at.is_(None), set_=words
        )
    )


async def start_usage_again(tx: PrivilegedTransaction, license_id: UUID, generation: int, now: datetime) -> None:
    """Sets the totals to 0: they counted what is on an account that has ended."""
    key = f"floor:again:{license_id}:{generation}:"  # the prefix that reports may not use
    await tx.session.execute(_START_AGAIN, {"license_id": license_id, "key": key, "now": now})


def _to_expire() -> tuple[ColumnElement[bool], ...]:
    """SQL: in force by its state, and renewed by no subscription."""
    return License.status == Status.ACTIVE, ~License.auto_renew


def _end() -> ColumnElement[datetime]:
    """SQL: the last instant at which the license is valid; NULL: none. PostgreSQL's `greatest` passes over NULL."""
    return func.greatest(License.expiry_date, License.grace_until)


async def lock_over(tx: PrivilegedTransaction, ended_before: datetime, *, most: int) -> Sequence[License]:
    """Licenses that are over and not recorded so; those that others hold are left out."""
    statement = select(License).where(*_to_expire(), License.expiry_date < ended_before, _end() < ended_before)
    found = await tx.session.scalars(
        statement.order_by(License.expiry_date).limit(most).with_for_update(skip_locked=True)
    )
    return found.all()


async def next_end(tx: PrivilegedTransaction) -> datetime | None:
    found: datetime | None = await tx.session.scalar(select(func.min(_end())).where(*_to_expire()))
    return found
