"""Every SQL statement about received events."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert

from core.errors import NotFound
from core.ids import new_id
from db.clock import NOW
from db.models.messaging import WebhookEvent, WebhookSource
from db.paging import Order
from db.unit_of_work import PrivilegedTransaction, SystemTransaction

_SUMMARY: Final = (
    WebhookEvent.id,
    WebhookEvent.source,
    WebhookEvent.source_event_id,
    WebhookEvent.event_type,
    WebhookEvent.processed,
    WebhookEvent.processed_at,
    WebhookEvent.error_message,
    WebhookEvent.created_at,
)
NEWEST_FIRST: Final = Order(WebhookEvent.created_at, WebhookEvent.id)


async def store(
    tx: SystemTransaction, source: WebhookSource, event_id: str, event_type: str, payload: dict[str, Any]
) -> UUID | None:
    """The new row's id; None where this event was stored before."""
    statement = (
        insert(WebhookEvent)
        .values(id=new_id(), source=source, source_event_id=event_id, event_type=event_type, payload=payload)
        .on_conflict_do_nothing()
        .returning(WebhookEvent.id)
    )
    stored: UUID | None = await tx.session.scalar(statement)
    return stored


async def one(tx: PrivilegedTransaction, event_id: UUID) -> WebhookEvent:
    event = await tx.session.get(WebhookEvent, event_id)
    if event is None:
        raise NotFound("there is no such event")
    return event


async def note_processed(tx: SystemTransaction, event_id: UUID) -> None:
    values = {"processed": True, "processed_at": NOW, "error_message": None}
    await tx.session.execute(update(WebhookEvent).where(WebhookEvent.id == event_id).values(**values))


async def note_failed(tx: SystemTransaction, event_id: UUID, error: str) -> None:
    await tx.session.execute(update(WebhookEvent).where(WebhookEvent.id == event_id).values(error_message=error))


def received(*, processed: bool | None, event_type: str | None) -> Select[*tuple[Any, ...]]:
    """Without payloads: a page of them would be megabytes."""
    statement = select(*_SUMMARY)
    if processed is not None:
        statement = statement.where(WebhookEvent.processed == processed)
    if event_type is not None:
        statement = statement.where(WebhookEvent.event_type == event_type)
    return statement
