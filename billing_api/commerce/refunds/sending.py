"""Sending of refunds: Stripe is asked until it has answered, and carries each order out once.

A file of its own because workers do it. The order and its key are rows before the first call, so a process may die at
any line: the same key is sent again and gets the same refund. A key of Stripe's lives for 24 hours. An order that was
sent longer ago may have been carried out under a key that Stripe has forgotten. Then the refund is looked for among the
payment's refunds, by our id in its metadata. Only where it is not there, a new key is stored and sent.

What Stripe refuses (nothing is left, the charge is disputed) will be refused again: the order has failed, and staff
see it.
"""

from datetime import timedelta
from typing import Final

from billing_api.commerce.refunds import repository
from billing_api.commerce.refunds.repository import Sendable
from billing_api.commerce.stripe_mirror.money_back import sum_up
from billing_api.commerce.stripe_mirror.money_back_repository import disputes_of, lock_payment, refunds_of
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.money_back import RefundRefused, StripeMoneyBack
from core.clock import Clock
from core.jobs import SendRefund
from core.telemetry import logger
from db.models.money_back import RefundStatus
from db.unit_of_work import Database

KEY_HOLDS: Final = timedelta(hours=23)
"""For so long after the first call the same key is sent again; Stripe keeps it for 24 hours."""


class RefundSending:
    def __init__(self, database: Database, stripe: Stripe, mirror: Mirror, clock: Clock) -> None:
        self._database = database
        self._stripe = StripeMoneyBack(stripe.v1)
        self._mirror = mirror
        self._clock = clock

    async def perform(self, job: SendRefund) -> None:
        async with self._database.as_system() as tx:
            order = await repository.sendable(tx, job.refund_id)
        if order is None or order.refund.status is not RefundStatus.PENDING:
            return
        if order.refund.stripe_refund_id is None and not await self._send(order):
            return
        if order.charge_id is not None and order.customer_id is not None:
            await self._mirror.mirror(StripeObject("charge", order.charge_id, order.customer_id))

    async def _send(self, order: Sendable) -> bool:
        """False where Stripe refused."""
        refund = order.refund
        # 1. A key that may be forgotten is not sent again before the refund was looked for.
        now, generation = self._clock(), refund.send_generation
        if refund.sent_at is not None and now - refund.sent_at > KEY_HOLDS:
            if found := await self._stripe.find_refund(order.intent_id, refund.id):
                await self._note(order, found.id)
                return True
            generation += 1
        # 2. The key is stored with its time before it is sent for the first time.
        if refund.sent_at is None or generation != refund.send_generation:
            async with self._database.as_system() as tx:
                await repository.note_sending(tx, refund.id, at=now, generation=generation)
        # 3. The call.
        try:
            made = await self._stripe.refund(
                refund.id,
                intent_id=order.intent_id,
                amount=refund.amount,
                reason=refund.reason,
                generation=generation,
            )
        except RefundRefused as refusal:
            await self._give_up(order, refusal.code)
            return False
        await self._note(order, made.id)
        return True

    async def _note(self, order: Sendable, stripe_refund_id: str) -> None:
        async with self._database.as_system() as tx:
            await repository.note_stripe_id(tx, order.refund.id, stripe_refund_id)

    async def _give_up(self, order: Sendable, failure: str) -> None:
        """The money stays with us, and counts as not given back again."""
        async with self._database.as_system() as tx:
            payment = await lock_payment(tx, order.intent_id)
            refused = await repository.note_refused(tx, order.refund.id, failure)
            if payment is None or refused is None:
                return
            sum_up(payment, await refunds_of(tx, payment), await disputes_of(tx, payment))
            await tx.audit("refund.refused", "payment", payment.id, refund=str(order.refund.id), failure=failure)
        logger().error("refund.refused", refund_id=str(order.refund.id), failure=failure)
