"""Previews of a change of plan: what it would cost, to the cent, and for how long that holds.

A preview is dated. A change that brings this date along costs what was shown, because Stripe prorates as of that
instant (`proration_date`). After ten minutes, or after a renewal, the date is refused, together with a new preview.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing_api.access.permissions import Principal
from billing_api.commerce.plans.prices import prices
from billing_api.commerce.plans.repository import one_on_offer, price_of
from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.plan_following import offer
from billing_api.commerce.subscriptions import repository
from billing_api.commerce.subscriptions.ahead import NextInvoice
from billing_api.commerce.subscriptions.repository import StripeIds
from billing_api.commerce.subscriptions.schemas import (
    ChangeGiven,
    ChangePreview,
    ChangePreviewed,
    PreviewLine,
    PreviewPeriod,
    future_limits,
)
from billing_api.commerce.subscriptions.views import SubscriptionDetails
from billing_api.gateways.stripe.client import GoneAtStripe, Stripe
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.gateways.stripe.subscription_changes import ChangeCost, SubscriptionChanges, Wanted
from core.clock import Clock, rfc3339
from core.errors import Conflict, FieldError, NameThoseThatEnd, PreviewStale, Unprocessable
from core.licensing.plan_change import Direction, direction_with_number
from core.money import Money
from db.models.commerce import Subscription, SubscriptionStatus
from db.models.licensing import Interval, Plan
from db.unit_of_work import Database

VALID_FOR: Final = timedelta(minutes=10)
_AHEAD: Final = timedelta(minutes=1)
"""How far a preview's date may lie ahead: clocks differ."""
ENDED: Final = "this subscription has ended; buy a new license"


class _Costs(msgspec.Struct, frozen=True):
    now: ChangeCost | None
    """None where nothing is due now."""
    renewal: Money


class Previews:
    def __init__(
        self, database: Database, stripe: Stripe, changes: SubscriptionChanges, plans: PlanService, clock: Clock
    ) -> None:
        self._database = database
        self._stripe = stripe
        self._changes = changes
        self._plans = plans
        self._clock = clock

    async def of(
        self, principal: Principal, subscription_id: UUID, known: StripeIds, wanted: ChangePreviewed
    ) -> ChangePreview:
        """The preview by our rows, which have just been mirrored, and Stripe's own reckoning."""
        async with self._database.as_customer(principal.user_id) as tx:
            details = await repository.one(tx, subscription_id)
            plan = await one_on_offer(tx, wanted.plan_id)
            usage = await repository.usage_of(tx, [details.license.id])
            held = await repository.license_ids(tx, subscription_id)
        if wanted.end_license_ids:
            expect_named(details, held, wanted)
        upgrades = direction_of(details, plan, wanted) is Direction.UPGRADE
        facts = await self._facts(known)
        dated = self._date(facts)
        target = target_of(details, plan, wanted)
        costs = await self._costs(facts, plan, wanted.interval, target, dated if upgrades else None)
        due = costs.now
        return ChangePreview(
            direction="upgrade" if upgrades else "downgrade",
            plan_id=plan.id,
            plan=plan.name,
            interval=wanted.interval,
            quantity=target.quantity,
            takes_effect_at=None if upgrades else details.subscription.current_period_end,
            due_now=due.due if due else Money(0, facts.currency),
            lines=_lines(due) if due else [],
            balance_used=Money(due.balance_used if due else 0, facts.currency),
            next_invoice=NextInvoice(costs.renewal, due.period_end if due else facts.period_end),
            proration_date=dated,
            valid_until=dated + VALID_FOR,
            price=Money(_unit_price(facts, plan, wanted.interval, target), facts.currency) * target.quantity,
            limits=future_limits(details.license, plan, usage.get(details.license.id, {})),
        )

    async def expect_valid(
        self, principal: Principal, subscription_id: UUID, known: StripeIds, wanted: ChangeGiven
    ) -> None:
        """PreviewStale, with a new preview, where the preview that was seen does not hold any more."""
        if wanted.proration_date is None:
            return
        facts = await self._facts(known)
        now = self._date(facts)
        if max(facts.period_start, now - VALID_FOR) <= wanted.proration_date <= now + _AHEAD:
            return
        renewed = await self.of(principal, subscription_id, known, wanted)
        raise PreviewStale(
            f"this preview was valid until {rfc3339(wanted.proration_date + VALID_FOR)}; look at the new one in"
            " `preview`, and send its proration_date",
            msgspec.to_builtins(renewed),
        )

    async def recreated_price(self, gone: GoneAtStripe, plan_id: UUID, interval: Interval) -> str:
        """A new price in place of one that was deleted at Stripe."""
        if not gone.is_price:
            raise gone
        return (await self._plans.publish_one(self._stripe, plan_id))[interval]

    async def _costs(
        self, facts: SubscriptionFacts, plan: Plan, interval: Interval, wanted: Wanted, prorated_at: datetime | None
    ) -> _Costs:
        """`prorated_at`: None where nothing is charged now."""
        try:
            return await self._ask(facts, wanted, prorated_at)
        except GoneAtStripe as gone:
            fresh = await self.recreated_price(gone, plan.id, interval)
            return await self._ask(facts, Wanted(fresh, wanted.quantity), prorated_at)

    async def _ask(self, facts: SubscriptionFacts, wanted: Wanted, prorated_at: datetime | None) -> _Costs:
        now = await self._changes.cost_now(facts, wanted, prorated_at) if prorated_at else None
        return _Costs(now, await self._changes.cost_of_renewal(facts, wanted))

    async def _facts(self, known: StripeIds) -> SubscriptionFacts:
        facts = await self._stripe.subscription(known.subscription_id)
        if facts is None:
            raise Conflict(ENDED)
        return facts

    def _date(self, facts: SubscriptionFacts) -> datetime:
        """Now, in whole seconds as Stripe counts; the begin of Stripe's period where our clock is behind."""
        return max(self._clock().replace(microsecond=0), facts.period_start)


def _unit_price(facts: SubscriptionFacts, plan: Plan, interval: Interval, wanted: Wanted) -> int:
    """Of one license for a period, in the subscription's currency."""
    if wanted.keeps_price and facts.renewal_amount is not None:
        return facts.renewal_amount // facts.quantity
    return prices(plan, interval)[facts.currency]


def _lines(cost: ChangeCost) -> list[PreviewLine]:
    return [
        PreviewLine(line.description, Money(line.amount, cost.due.currency), PreviewPeriod(line.start, line.end))
        for line in cost.lines
    ]


def number_of(details: SubscriptionDetails, wanted: ChangePreviewed) -> int:
    """For how many licenses it shall pay."""
    return details.subscription.quantity if wanted.quantity is None else wanted.quantity


def target_of(details: SubscriptionDetails, plan: Plan, wanted: ChangePreviewed) -> Wanted:
    """What Stripe is asked for. Who changes the number alone keeps the price at which it was sold."""
    row = details.subscription
    if row.stripe_price_id is not None and (plan.id, wanted.interval) == (row.plan_id, row.interval):
        return Wanted(row.stripe_price_id, number_of(details, wanted), keeps_price=True)
    return Wanted(price_of(plan, wanted.interval), number_of(details, wanted))


def expect_named(details: SubscriptionDetails, held: Collection[UUID], wanted: ChangePreviewed) -> None:
    """NameThoseThatEnd unless exactly as many of its own licenses are named as it is to pay for no longer."""
    named = set(wanted.end_license_ids)
    fewer = max(0, details.subscription.quantity - number_of(details, wanted))
    if named <= set(held) and len(wanted.end_license_ids) == len(named) == fewer:
        return
    told = f"must name {fewer} of the licenses of this subscription" if fewer else "must be empty: none ends"
    raise NameThoseThatEnd(f"end_license_ids {told}", errors=(FieldError("end_license_ids", told, "invalid"),))


def direction_of(details: SubscriptionDetails, plan: Plan, wanted: ChangePreviewed) -> Direction:
    """The direction of the change; Conflict where the subscription cannot be changed now."""
    # 1. The subscription must be active, renewing, and in a currency of the plan.
    row = details.subscription
    _expect_changeable(row)
    sold = prices(plan, wanted.interval)
    currency = row.renewal_currency or details.plan.currency
    if currency not in sold:
        raise Conflict(
            f"{plan.name} is sold in {', '.join(sold)} and this subscription is in {currency}; choose a plan in"
            f" {currency}"
        )
    # 2. The change must be a real one, and must not contradict a pending one.
    number = number_of(details, wanted)
    way = direction_with_number(offer(details.plan, row.interval), offer(plan, wanted.interval), row.quantity, number)
    if way is None:
        told = "goes another way than the plan; change one after the other"
        raise Unprocessable(f"quantity {told}", errors=(FieldError("quantity", told, "invalid"),))
    if way is Direction.NONE:
        raise Conflict(
            f"this subscription has {plan.name} by the {wanted.interval} already; resume it to withdraw a pending"
            " change"
        )
    _expect_no_contradiction(row, way)
    return way


def _expect_changeable(row: Subscription) -> None:
    if row.status is SubscriptionStatus.CANCELLED:
        raise Conflict(ENDED)
    if row.status is SubscriptionStatus.TRIALING:
        raise Conflict(f"the trial goes on until {rfc3339(row.current_period_end)}; change the subscription after it")
    if row.status is not SubscriptionStatus.ACTIVE:
        raise Conflict(f"a subscription that is {row.status} cannot be changed; pay its open invoice, then change it")
    if row.cancel_at_period_end:
        raise Conflict(f"the subscription ends on {rfc3339(row.current_period_end)}; resume it, then change it")


def _expect_no_contradiction(row: Subscription, way: Direction) -> None:
    if way is Direction.UPGRADE and row.pending_from is not None:
        raise Conflict(f"a change is pending for {rfc3339(row.pending_from)}; resume the subscription, then change it")
    if way is Direction.DOWNGRADE and row.pending_plan_id is not None and row.pending_from is None:
        raise Conflict("an upgrade waits for its payment; pay it, or resume the subscription, then change it")
