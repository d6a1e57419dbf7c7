"""Subscription use cases: change of plan, cancellation and resumption, by the customer.

Nothing here decides which plan is in force. A request is stored, Stripe is called with its id as the idempotency key,
and then Stripe's object is mirrored, as its webhook would do it. If the process dies at any line, the next request or
the webhook completes the work. A request that is repeated under its Idempotency-Key repeats the same calls to Stripe.

The lock on the Stripe customer is held during these calls, so that two requests of one customer do not interleave.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from billing_api.access.permissions import Principal
from billing_api.commerce.plans.repository import one_on_offer, price_of
from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.plan_following import offer
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.commerce.subscriptions import own_repository, repository
from billing_api.commerce.subscriptions.repository import StripeIds
from billing_api.commerce.subscriptions.schemas import (
    ChangeGiven,
    ChangePreview,
    SubscriptionView,
    future_limits,
)
from billing_api.commerce.subscriptions.views import SubscriptionDetails
from billing_api.gateways.stripe.client import GoneAtStripe, Stripe
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.gateways.stripe.subscription_changes import SubscriptionChanges
from core.clock import rfc3339
from core.deadline import MAY_HAVE_HAPPENED
from core.errors import Conflict, NotFound, Refusal, Unavailable
from core.ids import new_id
from core.licensing.plan_change import Direction, direction
from core.money import Money
from db.idempotency import Once, Replayable
from db.models.commerce import ChangeDirection, PlanChange, SubscriptionStatus
from db.models.licensing import Interval, Plan
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database, Transaction

_ASKED_WITHIN: Final = 8
"""Seconds for all calls to Stripe under the lock: its caller waits for an answer, and others for the lock."""
_ENDED: Final = "this subscription has ended; buy a new license"


class SubscriptionService:
    def __init__(
        self,
        database: Database,
        reads: CustomerReads,
        stripe: Stripe,
        changes: SubscriptionChanges,
        mirror: Mirror,
    ) -> None:
        self._database = database
        self._reads = reads
        self._stripe = stripe
        self._changes = changes
        self._mirror = mirror
        self._plans = PlanService(database)

    async def page(self, principal: Principal, paging: Paging) -> Page[SubscriptionView]:
        found = await own_repository.OWN_LIST.page(self._reads, principal.user_id, paging)
        return found.page(map(SubscriptionView.read, found.rows))

    async def one(self, principal: Principal, subscription_id: UUID) -> SubscriptionView:
        ids = {"subscription_id": subscription_id}
        rows = await self._reads.rows(principal.user_id, own_repository.OWN_ONE, ids)
        if not rows:
            raise NotFound("there is no such subscription; check its id")
        return SubscriptionView.read(rows[0])

    async def preview(self, principal: Principal, subscription_id: UUID, wanted: ChangeGiven) -> ChangePreview:
        """The cost and the limits of a change. The subscription is mirrored first; the change is not stored."""
        # 1. Mirror the subscription, so that the preview starts from Stripe's present state.
        async with self._database.as_customer(principal.user_id) as tx:
            known = await repository.stripe_ids(tx, subscription_id)
        await self._mirror_now(known)
        async with self._database.as_customer(principal.user_id) as tx:
            details = await repository.one(tx, subscription_id)
            plan = await one_on_offer(tx, wanted.plan_id)
            usage = await repository.usage_of(tx, [details.license.id])
        # 2. Ask Stripe for the cost of an upgrade. Any other change costs nothing now.
        way = _direction_of(details, plan, wanted.interval)
        due_now = Money(0, plan.currency)
        if way is Direction.UPGRADE:
            facts = await self._stripe.subscription(known.subscription_id)
            if facts is None:
                raise Conflict(_ENDED)
            due_now = await self._cost_now(facts, plan, wanted.interval)
        return ChangePreview(
            direction="upgrade" if way is Direction.UPGRADE else "downgrade",
            plan_id=plan.id,
            plan=plan.name,
            interval=wanted.interval,
            takes_effect_at=None if way is Direction.UPGRADE else details.subscription.current_period_end,
            due_now=due_now,
            price=Money(plan.price_monthly if wanted.interval is Interval.MONTH else plan.price_yearly, plan.currency),
            limits=future_limits(details.license, plan, usage.get(details.license.id, {})),
        )

    async def change(
        self, principal: Principal, subscription_id: UUID, wanted: ChangeGiven, once: Once
    ) -> Replayable[SubscriptionView]:
        """An upgrade is charged now and in force once it is paid. A downgrade takes effect with the next period."""
        # 1. Claim the Idempotency-Key.
        change_id = _change_id(principal, subscription_id, "change", once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, SubscriptionView):
                return stored
            known = await repository.stripe_ids(tx, subscription_id)
        # 2. Store the request, call Stripe, mirror the result. A refusal releases the key.
        async with self._key_released_on_refusal(principal, once):
            change = await self._store_request(principal, known, change_id, subscription_id, wanted)
            try:
                await self._carry_out(known, change, change_id, change.stripe_price_id)
            except GoneAtStripe as gone:
                price_id = await self._recreated_price(gone, change.plan_id, change.interval)
                await self._carry_out(known, change, uuid5(change_id, price_id), price_id)
            await self._mirror_now(known)
        return await self._answer(principal, subscription_id, once)

    async def cancel(self, principal: Principal, subscription_id: UUID, once: Once) -> Replayable[SubscriptionView]:
        """Cancels at the end of the paid period. A pending change is dropped."""
        return await self._cancel_or_resume(principal, subscription_id, "cancel", once)

    async def resume(self, principal: Principal, subscription_id: UUID, once: Once) -> Replayable[SubscriptionView]:
        """Withdraws a cancellation or a pending change."""
        return await self._cancel_or_resume(principal, subscription_id, "resume", once)

    async def _cancel_or_resume(
        self, principal: Principal, subscription_id: UUID, verb: str, once: Once
    ) -> Replayable[SubscriptionView]:
        change_id = _change_id(principal, subscription_id, verb, once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, SubscriptionView):
                return stored
            known = await repository.stripe_ids(tx, subscription_id)
        async with self._key_released_on_refusal(principal, once):
            async with self._locked(known) as facts:
                _require_running(facts)
                if verb == "cancel" and not facts.ends_with_period:
                    await self._changes.end_with_period(change_id, facts)
                if verb == "resume":
                    await self._changes.take_back(change_id, facts)
            await self._mirror_now(known)
        return await self._answer(principal, subscription_id, once)

    async def _carry_out(self, known: StripeIds, change: PlanChange, change_id: UUID, price_id: str) -> None:
        async with self._locked(known) as facts:
            if change.direction is ChangeDirection.UPGRADE:
                await self._changes.upgrade(change_id, facts, price_id)
            else:
                await self._changes.downgrade(change_id, facts, price_id, change.interval)

    async def _cost_now(self, facts: SubscriptionFacts, plan: Plan, interval: Interval) -> Money:
        try:
            return await self._changes.cost_now(facts, price_of(plan, interval))
        except GoneAtStripe as gone:
            return await self._changes.cost_now(facts, await self._recreated_price(gone, plan.id, interval))

    async def _recreated_price(self, gone: GoneAtStripe, plan_id: UUID, interval: Interval) -> str:
        """A new price in place of one that was deleted at Stripe."""
        if not gone.is_price:
            raise gone
        return (await self._plans.publish_one(self._stripe, plan_id))[interval]

    async def _store_request(
        self, principal: Principal, known: StripeIds, change_id: UUID, subscription_id: UUID, wanted: ChangeGiven
    ) -> PlanChange:
        """Stores the request with its direction, by Stripe's present state. A retry gets the stored one."""
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await repository.stored_change(tx, change_id):
                return stored
        await self._mirror_now(known)
        async with self._database.as_customer(principal.user_id) as tx:
            details = await repository.one(tx, subscription_id)
            plan = await one_on_offer(tx, wanted.plan_id)
            values = {"id": change_id, "user_id": principal.user_id, "subscription_id": subscription_id}
            offered = {
                "plan_id": plan.id,
                "interval": wanted.interval,
                "stripe_price_id": price_of(plan, wanted.interval),
            }
            way = ChangeDirection(_direction_of(details, plan, wanted.interval))
            await repository.write_change(tx, **values, **offered, direction=way)
        return PlanChange(**values, **offered, direction=way)

    async def _mirror_now(self, known: StripeIds) -> None:
        await self._mirror.mirror(StripeObject("subscription", known.subscription_id, known.customer_id))

    @asynccontextmanager
    async def _locked(self, known: StripeIds) -> AsyncIterator[SubscriptionFacts]:
        """The subscription as read from Stripe, under the lock on its customer."""
        async with self._mirror.exclusive(known.customer_id) as tx:
            try:
                async with asyncio.timeout(_ASKED_WITHIN):
                    if facts := await self._stripe.subscription(known.subscription_id):
                        yield facts
                        return
            except TimeoutError as late:
                raise Unavailable(f"Stripe took too long: {MAY_HAVE_HAPPENED}") from late
            await self._mirror.handle_missing(tx, known.subscription_id)
        raise Conflict(_ENDED)

    @asynccontextmanager
    async def _key_released_on_refusal(self, principal: Principal, once: Once) -> AsyncIterator[None]:
        """Releases the Idempotency-Key after a refusal, so that the client can retry at once."""
        try:
            yield
        except Refusal:
            async with self._database.as_system(principal.user_id) as system:
                await once.give_back(system)
            raise

    async def _answer(self, principal: Principal, subscription_id: UUID, once: Once) -> Replayable[SubscriptionView]:
        async with self._database.as_customer(principal.user_id) as tx:
            return await once.record(tx, await _view(tx, subscription_id))


async def _view(tx: Transaction, subscription_id: UUID) -> SubscriptionView:
    details = await repository.one(tx, subscription_id)
    usage = await repository.usage_of(tx, [details.license.id])
    return SubscriptionView.of(details, usage.get(details.license.id, {}))


def _change_id(principal: Principal, subscription_id: UUID, verb: str, once: Once) -> UUID:
    """The same for every request with one Idempotency-Key, so that Stripe performs it once."""
    if once.key is None:
        return new_id()
    return uuid5(NAMESPACE_URL, f"urn:nextpanel:{verb}:{principal.user_id}:{subscription_id}:{once.key}")


def _direction_of(details: SubscriptionDetails, plan: Plan, interval: Interval) -> Direction:
    """The direction of the change; Conflict where the subscription cannot be changed now."""
    # 1. The subscription must be active, renewing and in the plan's currency.
    row = details.subscription
    if row.status is SubscriptionStatus.CANCELLED:
        raise Conflict(_ENDED)
    if row.status is not SubscriptionStatus.ACTIVE:
        raise Conflict(f"a subscription that is {row.status} cannot be changed; pay its open invoice, then change it")
    if row.cancel_at_period_end:
        raise Conflict(f"the subscription ends on {rfc3339(row.current_period_end)}; resume it, then change it")
    if plan.currency != details.plan.currency:
        raise Conflict(
            f"{plan.name} is sold in {plan.currency} and this subscription is in {details.plan.currency}; choose a plan"
            f" in {details.plan.currency}"
        )
    # 2. The change must be a real one, and must not contradict a pending one.
    way = direction(offer(details.plan, row.interval), offer(plan, interval))
    if way is Direction.NONE:
        raise Conflict(
            f"this subscription has {plan.name} by the {interval} already; resume it to withdraw a pending change"
        )
    if way is Direction.UPGRADE and row.pending_from is not None:
        raise Conflict(f"a change is pending for {rfc3339(row.pending_from)}; resume the subscription, then change it")
    if way is Direction.DOWNGRADE and row.pending_plan_id is not None and row.pending_from is None:
        raise Conflict("an upgrade waits for its payment; pay it, or resume the subscription, then change it")
    return way


def _require_running(facts: SubscriptionFacts) -> None:
    if facts.status in {"canceled", "incomplete_expired"}:
        raise Conflict(_ENDED)
