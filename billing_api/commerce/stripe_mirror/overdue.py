"""Overdue subscriptions: Stripe should have sent an event by now. They are found by their state.

A webhook may be lost for good, and a change at the end of a period has no other event. So whatever our rows say must
have happened, a period that is over or a pending change whose day has come, is looked up at Stripe; what is true then
is the mirror's to say. One that stays overdue after that (a clock of a test, a fault at Stripe) waits its turn again.
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
"""Seconds for one of them, the wait for its customer's lock included: as long as a webhook's job may take."""


async def mirror_overdue(database: Database, mirror: Mirror, now: datetime) -> int:
    """Mirrors those overdue that were not looked at for longest; says how many were."""
    async with step(), database.as_system() as tx:
        found = await repository.overdue(
            tx, late=now - _WEBHOOKS_TAKE, looked_at=now - _LOOK_AGAIN_AFTER, most=AT_A_TIME
        )
    for subscription_id, customer_id in found:
        try:
            async with step(_WITHIN):
                await mirror.mirror(StripeObject("subscription", subscription_id, customer_id))
        except Exception as failure:  # noqa: BLE001  one that fails must not keep the others from being looked at
            cause = f"{type(failure).__name__}: {failure}"[:300]
            logger().warning("subscription.overdue_not_mirrored", subscription=subscription_id, cause=cause)
            async with step(), database.as_system() as tx:
                await repository.note_looked_at(tx, subscription_id, now)
    return len(found)
