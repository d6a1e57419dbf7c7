"""Refund use case: an administrator orders a refund; a worker sends it (sending.py), the mirror carries out the rest.

The order is a row under the lock of its payment, so that orders at the same time are added up one after another, and
never more is ordered than is left.
"""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.refunds import repository
from billing_api.commerce.refunds.schemas import RefundGiven, RefundView
from billing_api.commerce.stripe_mirror.money_back_repository import OPEN_DISPUTE, disputes_of, lock_payment
from core.clock import Clock
from core.errors import Conflict, FieldError, NotFound, PaymentDisputed, Unprocessable
from core.jobs import SendRefund
from core.money import Money
from db.idempotency import Once, Replayable
from db.models.commerce import Payment, PaymentStatus
from db.unit_of_work import Database, SystemTransaction


class RefundService:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def order(
        self, principal: Principal, payment_id: UUID, given: RefundGiven, once: Once
    ) -> Replayable[RefundView]:
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, RefundView):
                return stored
            # 1. The payment, locked by its row in the registry of intents.
            found = await repository.payment(tx, payment_id)
            payment = await lock_payment(tx, found.stripe_payment_intent_id)
            if payment is None:
                raise NotFound("this payment was not made at Stripe, and cannot be refunded there")
            await _require_undisputed(tx, payment)
            amount = await _amount(tx, payment, given.amount)
            # 2. The order and its job.
            refund = await repository.add(
                tx,
                payment,
                amount=amount,
                reason=given.reason,
                note=given.note,
                actor_id=principal.user_id,
                effect=given.license,
                created_at=self._clock(),
            )
            payment.refunded += amount
            await tx.enqueue(SendRefund(refund.id))
            told = {"refund": str(refund.id), "amount": amount, "reason": given.reason, "license": given.license}
            await tx.audit("refund.ordered", "payment", payment.id, **told)
            return await once.record(tx, RefundView.of(refund))


async def _require_undisputed(tx: SystemTransaction, payment: Payment) -> None:
    if any(row.status in OPEN_DISPUTE for row in await disputes_of(tx, payment)):
        raise PaymentDisputed(
            "the bank has taken this payment back, and decides about it: answer the dispute under admin/disputes"
        )


async def _amount(tx: SystemTransaction, payment: Payment, wanted: int | None) -> int:
    """What to refund; never more than is left."""
    if payment.status not in {PaymentStatus.SUCCEEDED, PaymentStatus.REFUNDED}:
        raise Conflict(f"a payment that is {payment.status} has nothing to refund")
    left = payment.amount - await repository.given_back(tx, payment.id)
    if left <= 0:
        raise Conflict("nothing is left of this payment: all of it was refunded, or is on its way back")
    if wanted is not None and wanted > left:
        told = f"must not be more than is left, {Money(left, payment.currency)}"
        fault = FieldError("amount", told, "too_large", {"max": left})
        raise Unprocessable(f"amount {told}", errors=(fault,))
    return left if wanted is None else wanted
