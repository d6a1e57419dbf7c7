"""Decisions of ours about subscriptions, carried out at Stripe by workers: an end, and a pause of collection.

Each reads the present state under the lock on the Stripe customer and makes Stripe's agree. Done twice, it changes
nothing more.
"""

from billing_api.commerce.stripe_mirror import money_back_repository, repository
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.endings import StripeEndings
from core.errors import NotFound
from core.jobs import AlignCollection, EndSubscription
from core.telemetry import logger
from db.models.commerce import SubscriptionStatus
from db.unit_of_work import Database


class SubscriptionDecisions:
    def __init__(self, database: Database, stripe: Stripe, mirror: Mirror) -> None:
        self._database = database
        self._stripe = stripe
        self._endings = StripeEndings(stripe.v1)
        self._mirror = mirror

    async def end(self, job: EndSubscription) -> None:
        """What is open or a draft is voided also where the subscription has ended before: an earlier try died there."""
        async with self._database.as_system() as tx:
            known = await repository.at_stripe(tx, job.subscription_id)
        if known is None:
            return
        async with self._mirror.exclusive(known.customer_id):
            await self._endings.end(known.subscription_id)
        await self._mirror.mirror(StripeObject("subscription", known.subscription_id, known.customer_id))
        logger().info("subscription.ended_by_us", subscription_id=str(job.subscription_id))

    async def align_collection(self, job: AlignCollection) -> None:
        async with self._database.as_system() as tx:
            known = await repository.at_stripe(tx, job.subscription_id)
        if known is None:
            return
        async with self._mirror.exclusive(known.customer_id) as tx:
            row = await repository.subscription(tx, known.subscription_id)
            if row is None or row.status is SubscriptionStatus.CANCELLED:
                return
            paused = await money_back_repository.open_disputes(tx, row.license_id) > 0
            if paused == row.paused_for_dispute:
                return
            try:
                await self._pause_or_resume(known.subscription_id, paused=paused)
            except NotFound:  # the mirror finds out by itself, and ends the row
                return
            row.paused_for_dispute = paused
            action = "subscription.collection_paused" if paused else "subscription.collection_resumed"
            await tx.audit(action, "subscription", row.id)

    async def _pause_or_resume(self, subscription_id: str, *, paused: bool) -> None:
        if paused:
            await self._endings.pause_collection(subscription_id)
            return
        facts = await self._stripe.subscription(subscription_id)
        latest = None if facts is None else facts.latest_invoice_id
        await self._endings.resume_collection(subscription_id, latest_invoice_id=latest)
