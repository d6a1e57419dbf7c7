"""Every SQL statement about subscriptions as their owner sees them."""

from uuid import UUID

from sqlalchemy import Select, select

from core.errors import NotFound
from db.models.commerce import Subscription
from db.unit_of_work import CustomerTransaction


def newest_first() -> Select[Subscription]:
    return select(Subscription).order_by(Subscription.created_at.desc(), Subscription.id.desc())


async def one(tx: CustomerTransaction, subscription_id: UUID) -> Subscription:
    row = await tx.session.get(Subscription, subscription_id)
    if row is None:
        raise NotFound("there is no such subscription")
    return row
