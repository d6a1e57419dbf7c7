"""The end of a subscription by its customer: with the paid period, or at once.

While an invoice is not paid, a customer who cancels is not charged any more: the subscription ends at once, with what
was paid, and the invoice is void. So nobody who leaves is dunned.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.subscriptions.schemas import CancelOutcome
from billing_api.gateways.stripe.endings import StripeEndings
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.gateways.stripe.subscription_changes import SubscriptionChanges
from core.clock import Clock
from core.money import Money
from db.unit_of_work import Database


class _Way(NamedTuple):
    at_once: bool
    credit: bool
    """Whether the rest of the paid period is credited."""


class Ends:
    def __init__(self, database: Database, changes: SubscriptionChanges, endings: StripeEndings, clock: Clock) -> None:
        self._database = database
        self._changes = changes
        self._endings = endings
        self._clock = clock

    async def preview(self, facts: SubscriptionFacts, when: str) -> CancelOutcome:
        return await self._outcome(facts, await self._way(facts, when))

    async def end(self, change_id: UUID, facts: SubscriptionFacts, when: str) -> CancelOutcome:
        """Needs the lock on the customer, and a subscription that runs."""
        way = await self._way(facts, when)
        outcome = await self._outcome(facts, way)
        if way.at_once:
            await self._endings.end(facts.id, credit=way.credit)
        elif not facts.ends_with_period:
            await self._changes.end_with_period(change_id, facts)
        return outcome

    async def finish(self, facts: SubscriptionFacts) -> None:
        """For one that has ended: a cancellation that died half-way may have left an invoice to be paid."""
        await self._endings.void_unpaid(facts.id)

    async def _way(self, facts: SubscriptionFacts, when: str) -> _Way:
        if await self._endings.has_unpaid(facts):
            return _Way(at_once=True, credit=False)
        if when != "now":
            return _Way(at_once=False, credit=False)
        async with self._database.as_system() as tx:
            policy = await policy_in_force(tx)
        return _Way(at_once=True, credit=policy.cancel_now_credit)

    async def _outcome(self, facts: SubscriptionFacts, way: _Way) -> CancelOutcome:
        nothing = Money(0, facts.currency)
        credit = await self._endings.credit_now(facts) if way.credit else nothing
        return CancelOutcome(ends_at=self._end_of(facts, way), charges=nothing, credit=credit)

    def _end_of(self, facts: SubscriptionFacts, way: _Way) -> datetime:
        return self._clock() if way.at_once else facts.period_end
