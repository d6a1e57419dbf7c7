"""Subscription use cases: change of plan, cancellation and resumption, by the customer.

Nothing here decides which plan is in force. A request is stored, Stripe is called with its id as the idempotency key,
and then Stripe's object is mirrored, as its webhook would do it. If the process dies at any line, the next request or
the webhook completes the work. A request that is repeated under its Idempotency-Key repeats the same calls to Stripe.

The lock on the Stripe customer is held during these calls, so that two requests of one customer do not interleave.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from billing_api.access.permissions import Principal
from billing_api.commerce.plans.repository import one_on_offer
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.commerce.subscriptions import own_repository, repository
from billing_api.commerce.subscriptions.ends import Ends
from billing_api.commerce.subscriptions.previews import (
    ENDED,
    Previews,
    direction_of,
    expect_named,
    target_of,
)
from billing_api.commerce.subscriptions.repository import StripeIds
from billing_api.commerce.subscriptions.schemas import (
    CancelGiven,
    Cancelled,
    CancelOutcome,
    CancelPreviewed,
    ChangeGiven,
    ChangePreview,
    ChangePreviewed,
    PayGiven,
    PayOutcome,
    SubscriptionView,
)
from billing_api.gateways.stripe.client import GoneAtStripe, Stripe
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.gateways.stripe.payment_methods import StripeWallets
from billing_api.gateways.stripe.subscription_changes import SubscriptionChanges, Wanted
from core.deadline import MAY_HAVE_HAPPENED
from core.errors import Conflict, IdempotencyMismatch, NotFound, PaymentDeclined, Refusal, Unavailable
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.models.commerce import ChangeDirection, PlanChange
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database, Transaction

_ASKED_WITHIN: Final = 8
"""Seconds for all calls to Stripe under the lock: its caller waits for an answer, and others for the lock."""


_ENDED_AT_STRIPE: Final = frozenset({"canceled", "incomplete_expired"})


class SubscriptionService:
    def __init__(
        self,
        database: Database,
        reads: CustomerReads,
        stripe: Stripe,
        changes: SubscriptionChanges,
        mirror: Mirror,
        previews: Previews,
        ends: Ends,
        wallets: StripeWallets,
    ) -> None:
        self._database = database
        self._reads = reads
        self._stripe = stripe
        self._changes = changes
        self._mirror = mirror
        self._previews = previews
        self._ends = ends
        self._wallets = wallets

    async def page(self, principal: Principal, paging: Paging) -> Page[SubscriptionView]:
        found = await own_repository.OWN_LIST.page(self._reads, principal.user_id, paging)
        return found.page(map(SubscriptionView.read, found.rows))

    async def one(self, principal: Principal, subscription_id: UUID) -> SubscriptionView:
        ids = {"subscription_id": subscription_id}
        rows = await self._reads.rows(principal.user_id, own_repository.OWN_ONE, ids)
        if not rows:
            raise NotFound("there is no such subscription; check its id")
        return SubscriptionView.read(rows[0])

    async def preview(self, principal: Principal, subscription_id: UUID, wanted: ChangePreviewed) -> ChangePreview:
        """The cost and the limits of a change. The subscription is mirrored first; the change is not stored."""
        async with self._database.as_customer(principal.user_id) as tx:
            known = await repository.stripe_ids(tx, subscription_id)
        await self._mirror_now(known)
        return await self._previews.of(principal, subscription_id, known, wanted)

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
            # Before Stripe is asked: a process that dies in between leaves names without effect.
            await self._name_leaving(principal, subscription_id, wanted.end_license_ids)
            try:
                await self._carry_out(known, change, change_id, change.stripe_price_id)
            except GoneAtStripe as gone:
                price_id = await self._previews.recreated_price(gone, change.plan_id, change.interval)
                await self._carry_out(known, change, uuid5(change_id, price_id), price_id)
            await self._mirror_now(known)
        return await self._answer(principal, subscription_id, once)

    async def preview_cancel(
        self, principal: Principal, subscription_id: UUID, wanted: CancelPreviewed
    ) -> CancelOutcome:
        """What a cancellation would mean. Nothing is changed."""
        async with self._database.as_customer(principal.user_id) as tx:
            known = await repository.stripe_ids(tx, subscription_id)
        async with self._locked(known) as facts:
            _require_running(facts)
            return await self._ends.preview(facts, wanted.when)

    async def cancel(
        self, principal: Principal, subscription_id: UUID, wanted: CancelGiven, once: Once
    ) -> Replayable[Cancelled]:
        """Ends it with the paid period or at once. A pending change is dropped."""
        change_id = _change_id(principal, subscription_id, "cancel", once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, Cancelled):
                return stored
            known = await repository.stripe_ids(tx, subscription_id)
        async with self._key_released_on_refusal(principal, once):
            async with self._locked(known) as facts:
                if facts.status in _ENDED_AT_STRIPE:
                    await self._ends.finish(facts)
                _require_running(facts)
                outcome = await self._ends.end(change_id, facts, wanted.when)
            await self._mirror_now(known)
        async with self._database.as_customer(principal.user_id) as tx:
            await tx.audit(
                "subscription.cancelled", "subscription", subscription_id, when=wanted.when, reason=wanted.reason
            )
            view = await _view(tx, subscription_id)
            return await once.record(tx, Cancelled.of_both(view, outcome))

    async def pay(
        self, principal: Principal, subscription_id: UUID, wanted: PayGiven, once: Once
    ) -> Replayable[PayOutcome]:
        """Tries the oldest open invoice now. PaymentDeclined where the card is; Conflict where nothing is open."""
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, PayOutcome):
                return stored
            known = await repository.stripe_ids(tx, subscription_id)
        async with self._key_released_on_refusal(principal, once):
            async with self._locked(known) as facts:
                _require_running(facts)
                if wanted.payment_method_id is not None:
                    await self._expect_own_card(known, wanted.payment_method_id)
                tried = await self._wallets.collect_oldest(facts.id, wanted.payment_method_id)
            if tried is None:
                raise Conflict("nothing is open: this subscription is paid")
            await self._mirror.mirror(StripeObject("invoice", tried.invoice_id, known.customer_id))
            if tried.error is not None:
                raise PaymentDeclined(f"{tried.error.rstrip('.')}. Nothing was charged; try another card")
        outcome = PayOutcome(
            status="paid" if tried.paid else "action_required", url=None if tried.paid else tried.page_url
        )
        async with self._database.as_customer(principal.user_id) as tx:
            return await once.record(tx, outcome)

    async def _expect_own_card(self, known: StripeIds, method_id: str) -> None:
        wallet = await self._wallets.wallet(known.customer_id)
        if method_id not in {card.id for card in wallet.cards}:
            raise NotFound("there is no such card among yours; read payment-methods")

    async def resume(self, principal: Principal, subscription_id: UUID, once: Once) -> Replayable[SubscriptionView]:
        """Withdraws a cancellation or a pending change."""
        change_id = _change_id(principal, subscription_id, "resume", once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, SubscriptionView):
                return stored
            known = await repository.stripe_ids(tx, subscription_id)
        async with self._key_released_on_refusal(principal, once):
            async with self._locked(known) as facts:
                _require_running(facts)
                await self._changes.take_back(change_id, facts)
            await self._name_leaving(principal, subscription_id, ())
            await self._mirror_now(known)
        return await self._answer(principal, subscription_id, once)

    async def _carry_out(self, known: StripeIds, change: PlanChange, change_id: UUID, price_id: str) -> None:
        wanted = Wanted(price_id, change.quantity, keeps_price=change.keeps_price)
        async with self._locked(known) as facts:
            if change.direction is ChangeDirection.UPGRADE:
                await self._changes.upgrade(change_id, facts, wanted, change.proration_date)
            else:
                await self._changes.downgrade(change_id, facts, wanted, change.interval)

    async def _store_request(
        self, principal: Principal, known: StripeIds, change_id: UUID, subscription_id: UUID, wanted: ChangeGiven
    ) -> PlanChange:
        """Stores the request with its direction, by Stripe's present state. A retry gets the stored one."""
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await repository.stored_change(tx, change_id):
                _expect_same(stored, wanted)
                if await repository.is_forgotten_by_stripe(tx, change_id):
                    raise Conflict(
                        "this Idempotency-Key is older than a day; read the subscription, then use a new key"
                    )
                return stored
        await self._mirror_now(known)
        await self._previews.expect_valid(principal, subscription_id, known, wanted)
        async with self._database.as_customer(principal.user_id) as tx:
            details = await repository.one(tx, subscription_id)
            plan = await one_on_offer(tx, wanted.plan_id)
            expect_named(details, await repository.license_ids(tx, subscription_id), wanted)
            values = {"id": change_id, "user_id": principal.user_id, "subscription_id": subscription_id}
            target = target_of(details, plan, wanted)
            offered = {
                "plan_id": plan.id,
                "interval": wanted.interval,
                "stripe_price_id": target.price_id,
                "keeps_price": target.keeps_price,
                "quantity": target.quantity,
                "end_license_ids": list(map(str, wanted.end_license_ids)),
                "proration_date": wanted.proration_date,
            }
            way = ChangeDirection(direction_of(details, plan, wanted))
            await repository.write_change(tx, **values, **offered, direction=way)
        return PlanChange(**values, **offered, direction=way)

    async def _name_leaving(self, principal: Principal, subscription_id: UUID, leaving: Collection[UUID]) -> None:
        async with self._database.as_system(principal.user_id) as system:
            await repository.name_leaving(system, subscription_id, leaving)

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
        raise Conflict(ENDED)

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
    return SubscriptionView.read(await own_repository.one(tx, subscription_id))


def _change_id(principal: Principal, subscription_id: UUID, verb: str, once: Once) -> UUID:
    """The same for every request with one Idempotency-Key, so that Stripe performs it once."""
    if once.key is None:
        return new_id()
    return uuid5(NAMESPACE_URL, f"urn:nextpanel:{verb}:{principal.user_id}:{subscription_id}:{once.key}")


def _expect_same(stored: PlanChange, wanted: ChangeGiven) -> None:
    """A key that was released after a refusal, or forgotten after a week, still names the change it came with first."""
    before = (stored.plan_id, stored.interval, sorted(stored.end_license_ids), stored.proration_date)
    now = (wanted.plan_id, wanted.interval, sorted(map(str, wanted.end_license_ids)), wanted.proration_date)
    if before != now or wanted.quantity not in {None, stored.quantity}:
        raise IdempotencyMismatch("this Idempotency-Key was used with another body; use a new key")


def _require_running(facts: SubscriptionFacts) -> None:
    if facts.status in _ENDED_AT_STRIPE:
        raise Conflict(ENDED)
