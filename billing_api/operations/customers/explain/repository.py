"""SQL of an explanation: the license, its totals, and what is still to be projected of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Row, and_, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.expression import literal

from billing_api.licensing.licenses.standing_repository import open_causes_shown
from core.errors import NotFound
from db.clock import STATEMENT_NOW
from db.license_records import LICENSE_ROWS
from db.models.licensing import License
from db.models.messaging import OutboxRow
from db.models.usage import LicenseUsage
from db.unit_of_work import StaffTransaction

MOST_WAITING: Final = 10_000
"""Waiting changes that are looked through, the ones that are due first. There are more only while Redis is away."""


class Waiting(NamedTuple):
    """A change of the license or of its totals that waits to be projected."""

    created_at: datetime
    due_at: datetime
    attempts: int
    last_error: str | None


class Backlog(NamedTuple):
    mine: Sequence[Waiting]
    """The oldest first."""
    is_whole: bool
    """False: more than MOST_WAITING changes wait, and not all of them were looked through."""


async def license_row(tx: StaffTransaction, license_id: UUID) -> Row[Any]:
    """The columns of LICENSE_ROWS, the causes of a suspension, and when they were read."""
    statement = LICENSE_ROWS.add_columns(
        License.updated_at,
        open_causes_shown(to_staff=True).label("suspension_causes"),
        STATEMENT_NOW.label("read_at"),
    )
    row = (await tx.session.execute(statement.where(License.id == license_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such license: search for licenses with GET admin/licenses")
    return row


async def totals(tx: StaffTransaction, license_id: UUID) -> Sequence[Row[str, int, int]]:
    """Resource, total and the total's version."""
    statement = select(LicenseUsage.resource, LicenseUsage.used, LicenseUsage.version)
    return (await tx.session.execute(statement.where(LicenseUsage.license_id == license_id))).all()


async def backlog(tx: StaffTransaction, license_id: UUID) -> Backlog:
    """Read it after the license: a change that was read is then either here or already in Redis.

    Changes have no index by license, because the relay takes them within milliseconds. So their number is bounded.
    """
    waits = and_(OutboxRow.lane == "projection", OutboxRow.done_at.is_(None), OutboxRow.dead_at.is_(None))
    seen = select(OutboxRow).where(waits).order_by(OutboxRow.due_at).limit(MOST_WAITING).cte("seen")
    of_it, named = literal({"license_id": str(license_id)}, JSONB()), literal([[str(license_id)]], JSONB())
    mine = or_(seen.c.job.contains(of_it), seen.c.job["totals"].contains(named))
    found = select(seen.c.created_at, seen.c.due_at, seen.c.attempts, seen.c.last_error).where(mine)
    rows = (await tx.session.execute(found.order_by(seen.c.created_at).limit(100))).all()
    size = await tx.session.scalar(select(func.count()).select_from(seen)) or 0
    return Backlog([Waiting(*row) for row in rows], size < MOST_WAITING)
