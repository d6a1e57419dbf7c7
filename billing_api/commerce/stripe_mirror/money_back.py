"""Money that goes back, mirrored: a charge's refunds and disputes become rows, and their consequences follow once.

`follow` looks at one payment as a whole, so it does not matter which object an event named, in which order events came,
or how often. What was carried out for a row is written on that row (`effect_at`, `undone_at`, `closed_at`) in the
transaction that carries it out.

    refund, done            license kept, suspended (`refunded`) or ended, as was ordered, or as the policy says
    refund, failed later    the payment is as before, and a suspension for it ends; an end stays, and staff are told
    dispute, open           license kept, suspended (`disputed`) or ended by the policy; collection is paused
    dispute, won            `disputed` ends, unless another dispute is open; collection is resumed
    dispute, lost           the payment is refunded, license and subscription end
    inquiry, prevented      staff are told, nothing changes
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing_api.access.staff_reason import StaffReason
from billing_api.commerce.billing_details.repository import recipient_of_bills
from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.stripe_mirror import money_back_repository as repository
from billing_api.commerce.stripe_mirror.ending import end_license
from billing_api.commerce.stripe_mirror.held_repository import licenses_of
from billing_api.commerce.stripe_mirror.money_back_repository import GIVEN_BACK, OPEN_DISPUTE
from billing_api.gateways.stripe.money_back import ChargeFacts
from billing_api.licensing.licenses.repository import lock as lock_license
from billing_api.licensing.licenses.standing import change_standing
from billing_api.notifications.mails.service import queue_mail
from core.billing_policy import BillingPolicy
from core.clock import Clock
from core.jobs import AlignCollection
from core.licensing.state import IN_FORCE, Event
from core.money import Money
from core.telemetry import logger
from db.models.commerce import Payment, PaymentStatus
from db.models.identity import User
from db.models.licensing import License
from db.models.money_back import Dispute, Effect, Refund, RefundOrigin, RefundStatus
from db.unit_of_work import SystemTransaction

_REFUNDED: Final = "a payment was refunded"
_DISPUTED: Final = "a payment is disputed with the bank"
_LOST: Final = "a disputed payment was not upheld by the bank"
_TAKEN_BACK: Final = (RefundStatus.FAILED, RefundStatus.CANCELLED)


class MoneyBack:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def follow(self, tx: SystemTransaction, user: User, payment: Payment, facts: ChargeFacts) -> None:
        """Writes down what the charge says, and carries out what follows. The payment must be locked."""
        for refund in facts.refunds:
            await repository.write_refund(tx, payment, refund)
        for dispute in facts.disputes:
            await self._note(tx, payment, dispute.id, new=await repository.write_dispute(tx, payment, dispute))
        refunds = await repository.refunds_of(tx, payment)
        disputes = await repository.disputes_of(tx, payment)
        payment.stripe_charge_id = facts.id
        sum_up(payment, refunds, disputes)
        license_ = await self._license(tx, payment)
        policy = await policy_in_force(tx)
        for refund_row in refunds:
            await self._refund(tx, user, license_, payment, refund_row, policy)
        for dispute_row in disputes:
            await self._dispute(tx, license_, dispute_row, policy)
        await tx.session.flush()

    async def _license(self, tx: SystemTransaction, payment: Payment) -> License | None:
        """The license that the payment is for, locked. Money for a former term says nothing about the present one."""
        if payment.license_id is None:
            return None
        license_ = await lock_license(tx, payment.license_id)
        await tx.session.flush()
        return None if await repository.pays_for_a_former_term(tx, payment) else license_

    async def _note(self, tx: SystemTransaction, payment: Payment, dispute_id: str, *, new: bool) -> None:
        """Staff are told of every dispute once: by a line of the audit trail and of the log."""
        if new:
            await tx.audit("dispute.received", "payment", payment.id, dispute=dispute_id)
            logger().warning("dispute.received", payment_id=str(payment.id), dispute=dispute_id)

    async def _refund(
        self,
        tx: SystemTransaction,
        user: User,
        license_: License | None,
        payment: Payment,
        row: Refund,
        policy: BillingPolicy,
    ) -> None:
        if row.status in GIVEN_BACK and row.effect_at is None:
            await self._carry_out(tx, license_, payment, row, policy)
        if row.status in _TAKEN_BACK and row.effect_at is not None and row.undone_at is None:
            row.undone_at = self._clock()
            await self._undo(tx, license_, row)
        if row.status is RefundStatus.SUCCEEDED:
            await self._receipt(tx, user, payment, row)

    async def _carry_out(
        self, tx: SystemTransaction, license_: License | None, payment: Payment, row: Refund, policy: BillingPolicy
    ) -> None:
        """An end cannot be undone, so it waits until the bank has carried the refund out."""
        done = row.status is RefundStatus.SUCCEEDED
        effect = row.effect
        if effect is None:
            if not done:
                return
            in_full = payment.status is PaymentStatus.REFUNDED
            effect = Effect.END if policy.ends_license(refunded_in_full=in_full) else Effect.KEEP
        if effect is Effect.END and not done:
            return
        row.effect, row.effect_at = effect, self._clock()
        said = StaffReason(f"refund {row.id} of payment {payment.id}", _REFUNDED)
        if license_ is not None and effect is Effect.END:
            await end_license(tx, license_, said, row.effect_at)
        if license_ is not None and effect is Effect.SUSPEND and license_.status in IN_FORCE:
            await _change_all(tx, license_, Event.REFUNDED, said, row.effect_at)
        await tx.audit("payment.refunded", "payment", payment.id, refund=str(row.id), amount=row.amount, license=effect)

    async def _undo(self, tx: SystemTransaction, license_: License | None, row: Refund) -> None:
        assert row.undone_at is not None
        await tx.audit("refund.failed", "payment", row.payment_id, refund=str(row.id), failure=row.failure)
        logger().error("refund.failed", refund_id=str(row.id), license_effect=row.effect)
        await tx.session.flush()
        if license_ is None or row.effect is not Effect.SUSPEND or license_.status not in IN_FORCE:
            return
        if not await repository.other_suspending_refunds(tx, license_.id):
            await _change_all(tx, license_, Event.REFUND_UNDONE, StaffReason(None), row.undone_at)

    async def _receipt(self, tx: SystemTransaction, user: User, payment: Payment, row: Refund) -> None:
        """Money that came for what has ended has a mail of its own (after_end.py)."""
        if row.origin is RefundOrigin.AFTER_END or user.deleted_at is not None:
            return
        told = {"amount": str(Money(row.amount, row.currency)), "description": payment.description or "your payment"}
        await queue_mail(
            tx,
            "refund_made",
            user_id=user.id,
            recipient=await recipient_of_bills(tx, user),
            occasion=str(row.id),
            now=self._clock(),
            parameters=told,
        )

    async def _dispute(
        self, tx: SystemTransaction, license_: License | None, row: Dispute, policy: BillingPolicy
    ) -> None:
        if row.status in OPEN_DISPUTE and row.effect_at is None and row.closed_at is None:
            await self._open(tx, license_, row, policy)
        if row.status == "won" and row.closed_at is None:
            await self._win(tx, license_, row)
        if row.status == "lost" and row.closed_at is None:
            await self._lose(tx, license_, row)
        if row.status == "warning_closed" and row.closed_at is None:
            await self._close(tx, row, "dispute.closed")

    async def _open(self, tx: SystemTransaction, license_: License | None, row: Dispute, policy: BillingPolicy) -> None:
        row.effect, row.effect_at = Effect(policy.dispute), self._clock()
        await tx.audit("dispute.opened", "payment", row.payment_id, dispute=str(row.id), license=row.effect)
        if license_ is None:
            return
        said = StaffReason(f"dispute {row.stripe_dispute_id}: {row.reason}", _DISPUTED)
        if row.effect is Effect.END:
            await end_license(tx, license_, said, row.effect_at)
        elif row.effect is Effect.SUSPEND and license_.status in IN_FORCE:
            await _change_all(tx, license_, Event.DISPUTED, said, row.effect_at)
        await self._align_collection(tx, license_)

    async def _win(self, tx: SystemTransaction, license_: License | None, row: Dispute) -> None:
        """A license that the dispute ended stays ended: staff are told, and decide."""
        await self._close(tx, row, "dispute.won")
        if license_ is None:
            return
        if license_.status in IN_FORCE and not await repository.other_suspending_disputes(tx, license_.id):
            await _change_all(tx, license_, Event.DISPUTE_WON, StaffReason(None), self._clock())
        await self._align_collection(tx, license_)

    async def _lose(self, tx: SystemTransaction, license_: License | None, row: Dispute) -> None:
        await self._close(tx, row, "dispute.lost")
        if license_ is not None:
            said = StaffReason(f"dispute {row.stripe_dispute_id} was lost", _LOST)
            await end_license(tx, license_, said, self._clock())

    async def _close(self, tx: SystemTransaction, row: Dispute, action: str) -> None:
        row.closed_at = self._clock()
        await tx.audit(action, "payment", row.payment_id, dispute=str(row.id), ended_license=row.effect is Effect.END)
        logger().warning(action, payment_id=str(row.payment_id), dispute=row.stripe_dispute_id)
        await tx.session.flush()

    async def _align_collection(self, tx: SystemTransaction, license_: License) -> None:
        for subscription in await repository.running_subscriptions(tx, license_.id):
            await tx.enqueue(AlignCollection(subscription.id))


def sum_up(payment: Payment, refunds: Sequence[Refund], disputes: Sequence[Dispute]) -> None:
    """What of the payment is back, and whether that is all of it. One that never succeeded stays as it is."""
    lost = sum(row.amount for row in disputes if row.status == "lost")
    on_its_way = lost + sum(row.amount for row in refunds if row.status in GIVEN_BACK)
    back = lost + sum(row.amount for row in refunds if row.status is RefundStatus.SUCCEEDED)
    payment.refunded = min(payment.amount, on_its_way)
    if payment.status in {PaymentStatus.SUCCEEDED, PaymentStatus.REFUNDED}:
        whole = back >= payment.amount or lost > 0
        payment.status = PaymentStatus.REFUNDED if whole else PaymentStatus.SUCCEEDED


async def _change_all(tx: SystemTransaction, license_: License, event: Event, said: StaffReason, now: datetime) -> None:
    """The license and those that the same subscription pays for: one payment was for all of them."""
    for subscription in await repository.running_subscriptions(tx, license_.id):
        for other in await licenses_of(tx, subscription.id):
            if other.id != license_.id and other.status in IN_FORCE:
                await change_standing(tx, other, event, said, now)
    await change_standing(tx, license_, event, said, now)
