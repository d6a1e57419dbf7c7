"""Payment method repository: what our rows say about a card that Stripe has."""

from datetime import datetime

from sqlalchemy import func, select

from db.models.commerce import Subscription, SubscriptionStatus
from db.unit_of_work import CustomerTransaction


async def next_renewal(tx: CustomerTransaction) -> datetime | None:
    """When the customer's cards are charged next; None where nothing renews."""
    renews = (Subscription.status != SubscriptionStatus.CANCELLED, Subscription.cancel_at_period_end.is_(False))
    found: datetime | None = await tx.session.scalar(select(func.min(Subscription.current_period_end)).where(*renews))
    return found


async def has_running(tx: CustomerTransaction) -> bool:
    """Whether a subscription may still charge a card."""
    running = select(Subscription.id).where(Subscription.status != SubscriptionStatus.CANCELLED).limit(1)
    return await tx.session.scalar(running) is not None
