"""Every SQL statement about jobs as staff see them; db/outbox.py has those that perform them."""

from datetime import datetime
from typing import Final, get_args

from sqlalchemy import ColumnElement, Select, Text, literal_column, select, text

from core.errors import NotFound
from core.jobs import JobKind, Lane, lane_of_kind
from db.models.messaging import JobState, OutboxRow
from db.paging import Order
from db.unit_of_work import StaffTransaction

NEWEST_FIRST: Final = Order(OutboxRow.id)
_KIND: Final = literal_column("(outbox.job ->> 'type')", Text)
_LANES: Final = {lane: text(f"outbox.lane = '{lane}'") for lane in get_args(Lane)}
"""Neither has parameters: an index over an expression, or with a condition, is found by their text."""
_CONDITION: dict[JobState, ColumnElement[bool]] = {
    "waiting": OutboxRow.done_at.is_(None) & OutboxRow.dead_at.is_(None),
    "done": OutboxRow.done_at.is_not(None),
    "dead": OutboxRow.dead_at.is_not(None),
}


def search(
    *,
    kind: JobKind | None,
    state: JobState | None,
    created_after: datetime | None,
    created_before: datetime | None,
) -> Select[OutboxRow]:
    """Every given condition must hold. The indexes are in db/migrations/versions/0029_search.sql."""
    statement = select(OutboxRow)
    if kind is not None:
        statement = statement.where(_KIND.in_((kind,)), _LANES[lane_of_kind(kind)])
    if state is not None:
        statement = statement.where(_CONDITION[state])
    if created_after is not None:
        statement = statement.where(OutboxRow.created_at >= created_after)
    if created_before is not None:
        statement = statement.where(OutboxRow.created_at < created_before)
    return statement


async def lock(tx: StaffTransaction, job_id: int) -> OutboxRow:
    row = await tx.session.scalar(select(OutboxRow).where(OutboxRow.id == job_id).with_for_update())
    if row is None:
        raise NotFound("there is no such job; done jobs are kept for some days only")
    return row
