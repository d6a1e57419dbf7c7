"""Dunning: takes the steps after a failed payment that are due, each once for its invoice and day.

For each invoice: its present state is read from Stripe first, under the lock on the customer, so nobody is told or
suspended for what was paid a moment ago. Then its steps, what follows from them and their mails are written in one
transaction. Stripe's own end of a subscription should never come first: docs/operations.md says which setting of Stripe
that takes.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from billing_api.access.staff_reason import StaffReason
from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.dunning import mails, repository, schedule
from billing_api.commerce.dunning.repository import Case, UnpaidInvoice
from billing_api.commerce.stripe_mirror.ending import end_license
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.facts import InvoiceFacts
from billing_api.licensing.licenses.standing import change_standing
from core.billing_policy import DunningDeed, DunningStep
from core.clock import Clock
from core.licensing.state import IN_FORCE, Event, Status
from core.parts import step
from core.telemetry import logger
from db.models.commerce import InvoiceStatus, SubscriptionStatus
from db.unit_of_work import Database, SystemTransaction

AT_A_TIME: Final = 20
_PUT_OFF: Final = timedelta(minutes=5)
"""One that fails, or that Stripe sees otherwise than our rows, is looked at later: the others must not wait for it."""
_WITHIN: Final = 24.0
"""Seconds for one invoice, including the wait for its customer's lock: the same as for a webhook's job."""
_UNPAID: Final = "the renewal was not paid"


class Dunning:
    def __init__(self, database: Database, stripe: Stripe, mirror: Mirror, clock: Clock) -> None:
        self._database = database
        self._stripe = stripe
        self._mirror = mirror
        self._clock = clock
        self._put_off: dict[UUID, datetime] = {}

    async def take_due_steps(self) -> int:
        """Returns the number of invoices that were looked at. Two processes at once do no harm."""
        now = self._clock()
        self._put_off = {invoice_id: until for invoice_id, until in self._put_off.items() if until > now}
        async with step(), self._database.as_system() as tx:
            steps = (await policy_in_force(tx)).dunning
            found = await repository.due(tx, steps, now, put_off=self._put_off, most=AT_A_TIME)
        for one in found:
            try:
                async with step(_WITHIN):
                    settled = await self._take_steps_of(one)
            except Exception as failure:  # noqa: BLE001  a failing one must not stop the others
                cause = f"{type(failure).__name__}: {failure}"[:300]
                logger().warning("dunning.step_failed", invoice=one.stripe_id, cause=cause)
                settled = False
            if not settled:
                self._put_off[one.id] = now + _PUT_OFF
        return len(found)

    async def next_due(self) -> datetime | None:
        """When the next step falls due; one that could not be taken yet is not waited for."""
        now = self._clock()
        async with self._database.as_system() as tx:
            steps = (await policy_in_force(tx)).dunning
            cases = await repository.unpaid(tx, now)
        instants = (
            schedule.next_due(
                steps, failed_at=one["first_failed_at"], taken=one["taken"], in_force_until=one["expiry_date"]
            )
            for one in cases
        )
        return min((instant for instant in instants if instant is not None and instant > now), default=None)

    async def _take_steps_of(self, one: UnpaidInvoice) -> bool:
        """Whether a step was taken."""
        # 1. Our rows as Stripe has them now.
        await self._mirror.mirror(StripeObject("invoice", one.stripe_id, one.customer_id or None))
        async with self._mirror.exclusive(one.customer_id) as tx:
            facts = await self._stripe.invoice(one.stripe_id)
            case = await repository.lock_case(tx, one.id)
            now = self._clock()
            if facts is None or case is None or not _is_unpaid(case, facts, now):
                return False
            # 2. What is due of it.
            policy = await policy_in_force(tx)
            assert case.invoice.first_failed_at is not None
            due = schedule.due(
                policy.dunning,
                failed_at=case.invoice.first_failed_at,
                taken=case.taken,
                now=now,
                in_force_until=case.in_force_until,
            )
            # 3. Take it, and tell the owner of the last step.
            for passed in due.pass_over:
                await repository.note_step(tx, one.id, passed, now, passed_over=True)
            taken = [each for each in due.take if await self._take(tx, case, each, now)]
            if taken:
                await mails.tell(tx, case, taken[-1], facts, policy, now)
            return bool(taken)

    async def _take(self, tx: SystemTransaction, case: Case, one: DunningStep, now: datetime) -> bool:
        if not await repository.note_step(tx, case.invoice.id, one, now, passed_over=False):
            return False
        if one.do:
            await _perform(tx, case, one.do, now)
        told = {"invoice": case.invoice.stripe_invoice_id, "day": one.day, "step": one.mail or one.do}
        await tx.audit("dunning.step_taken", "license", case.license.id, **told)
        logger().info("dunning.step_taken", license_id=str(case.license.id), **told)
        return True


def _is_unpaid(case: Case, facts: InvoiceFacts, now: datetime) -> bool:
    """Whether its owner still has something, did not leave, and still has to pay for it."""
    gone = case.subscription.status is SubscriptionStatus.CANCELLED or case.subscription.ended_at is not None
    paid = case.subscription.plan_paid_until > now or case.invoice.status is not InvoiceStatus.OPEN
    over = all(one.status is Status.CANCELLED for one in case.licenses)
    return facts.has_failed_renewal and not (gone or paid or over)


async def _perform(tx: SystemTransaction, case: Case, deed: DunningDeed, now: datetime) -> None:
    said = StaffReason(_UNPAID, f"{_UNPAID}: {case.invoice.number or case.invoice.stripe_invoice_id}")
    for license_ in case.licenses:
        if deed == "end":
            await end_license(tx, license_, said, now)
        elif license_.status in IN_FORCE and await change_standing(tx, license_, Event.GRACE_ENDED, said, now):
            await tx.audit("license.suspended", "license", license_.id, **said.detail)
