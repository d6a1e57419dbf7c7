"""Polling fallback for lost webhooks: subscriptions that are overdue by our rows are read from Stripe.

A webhook may be lost for good, and no other event announces a change at the end of a period. So this job reads the
subscriptions whose period is over, or whose pending change is due, and the mirror updates their rows. A subscription
that is still overdue then (a test clock, a fault at Stripe) is read again later.
"""

from datetime import datetime, timedelta
from typing import Final

from billing_api.commerce.stripe_mirror import repository
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from core.parts import step
from core.telemetry import logger
from db.unit_of_work import Database

AT_A_TIME: Final = 20
_LOOK_AGAIN_AFTER: Final = timedelta(minutes=5)
_WEBHOOKS_TAKE: Final = timedelta(minutes=2)
_WITHIN: Final = 24.0
"""Seconds for one subscription, including the wait for its customer's lock: the same as for a webhook's job."""


async def mirror_overdue(database: Database, mirror: Mirror, now: datetime) -> int:
    """Mirrors the overdue subscriptions that were not read for the longest time; returns how many."""
    async with step(), database.as_system() as tx:
        found = await repository.overdue(
            tx, late=now - _WEBHOOKS_TAKE, looked_at=now - _LOOK_AGAIN_AFTER, most=AT_A_TIME
        )
    for subscription_id, customer_id in found:
        try:
            async with step(_WITHIN):
                await mirror.mirror(StripeObject("subscription", subscription_id, customer_id))
        except Exception as failure:  # noqa: BLE001  a failing one must not stop the others
            cause = f"{type(failure).__name__}: {failure}"[:300]
            logger().warning("subscription.overdue_not_mirrored", subscription=subscription_id, cause=cause)
            async with step(), database.as_system() as tx:
                await repository.postpone(tx, subscription_id, now)
    return len(found)
