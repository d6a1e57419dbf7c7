"""Every SQL statement about jobs as staff see them; db/outbox.py has those that perform them."""

from typing import Final

from sqlalchemy import ColumnElement, Select, select

from core.errors import NotFound
from db.models.messaging import JobState, OutboxRow
from db.paging import Order
from db.unit_of_work import StaffTransaction

NEWEST_FIRST: Final = Order(OutboxRow.id)
_CONDITION: dict[JobState, ColumnElement[bool]] = {
    "waiting": OutboxRow.done_at.is_(None) & OutboxRow.dead_at.is_(None),
    "done": OutboxRow.done_at.is_not(None),
    "dead": OutboxRow.dead_at.is_not(None),
}


def in_state(state: JobState | None) -> Select[OutboxRow]:
    statement = select(OutboxRow)
    return statement if state is None else statement.where(_CONDITION[state])


async def lock(tx: StaffTransaction, job_id: int) -> OutboxRow:
    row = await tx.session.scalar(select(OutboxRow).where(OutboxRow.id == job_id).with_for_update())
    if row is None:
        raise NotFound("there is no such job; done jobs are kept for some days only")
    return row
