"""Repository of the reconciliation with Stripe: the cursor, events that are known, and customers to walk."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert

from db.models.identity import User
from db.models.messaging import StripeEventCursor, WebhookEvent, WebhookSource
from db.unit_of_work import SystemTransaction


async def read_until(tx: SystemTransaction) -> datetime | None:
    found: datetime | None = await tx.session.scalar(select(StripeEventCursor.read_until))
    return found


async def move_cursor(tx: SystemTransaction, until: datetime, *, walked_at: datetime | None = None) -> None:
    """Never backwards: of two that read at once the later one counts."""
    row = insert(StripeEventCursor).values(only_row=True, read_until=until, walked_at=walked_at)
    moved = {
        "read_until": func.greatest(StripeEventCursor.read_until, row.excluded.read_until),
        "walked_at": func.coalesce(row.excluded.walked_at, StripeEventCursor.walked_at),
    }
    await tx.session.execute(row.on_conflict_do_update(index_elements=["only_row"], set_=moved))


async def known_events(tx: SystemTransaction, event_ids: Sequence[str]) -> set[str]:
    statement = select(WebhookEvent.source_event_id).where(
        WebhookEvent.source == WebhookSource.STRIPE, WebhookEvent.source_event_id.in_(event_ids)
    )
    return set(await tx.session.scalars(statement))


async def customers_behind(tx: SystemTransaction, user_id: UUID, *, most: int) -> list[tuple[UUID, list[str]]]:
    """Users with their customers at Stripe, deleted ones too, in the order of their ids."""
    has_some = or_(User.stripe_customer_id.is_not(None), func.jsonb_array_length(User.former_stripe_customer_ids) > 0)
    statement = select(User.id, User.stripe_customer_id, User.former_stripe_customer_ids)
    rows = await tx.session.execute(statement.where(User.id > user_id, has_some).order_by(User.id).limit(most))
    return [(row[0], [*row[2], *([row[1]] if row[1] else [])]) for row in rows]
