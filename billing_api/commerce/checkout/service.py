"""Checkout (write-ahead intent): from a plan to a paid Stripe Checkout Session.

The intent is written before Stripe is called, and its id is the idempotency key of that call. So a request that dies
half-way, or is sent twice, gets the same session. This service never decides whether the purchase is paid: it mirrors
Stripe's object.
"""

import asyncio
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from billing_api.access.permissions import Principal
from billing_api.commerce.checkout import orders, repository
from billing_api.commerce.checkout.schemas import (
    CheckoutView,
    StartCheckout,
    StartedCheckout,
)
from billing_api.commerce.plans.repository import offer_of, price_of
from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_customers.repository import buyer
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import GoneAtStripe, SessionOrder, Stripe
from billing_api.gateways.stripe.promotions import StripePromotions
from core.clock import Clock
from core.errors import NotFound, PartnerUnavailable, Refusal
from core.ids import new_id
from core.licensing.state import Status
from core.telemetry import logger
from db.idempotency import Once, Replayable
from db.models.commerce import CheckoutStatus
from db.models.identity import User
from db.reads import CustomerReads, Record
from db.unit_of_work import CustomerTransaction, Database

RETURN_PATH: Final = "/checkout/return"

_PATIENCE_SECONDS: Final = 5
"""A browser waits for the page. After this time it shows that the payment is being confirmed."""


class CheckoutOutcome(NamedTuple):
    """The state of a checkout, for a page that may show nothing else."""

    status: CheckoutStatus
    licensed: bool


class _Opened(NamedTuple):
    """Stripe's id of the session, and the URL of the payment page."""

    session_id: str
    url: str


class _Wanted(NamedTuple):
    """An order that our rows know nothing against."""

    accepted: orders.Accepted
    price_id: str
    has_bought: bool


class CheckoutService:
    def __init__(
        self,
        database: Database,
        reads: CustomerReads,
        stripe: Stripe,
        mirror: Mirror,
        clock: Clock,
        *,
        public_url: str,
    ) -> None:
        """`public_url`: the address under which a customer's browser reaches the return page."""
        self._database = database
        self._reads = reads
        self._plans = PlanService(database)
        self._stripe = stripe
        self._customers = StripeCustomers(database, stripe)
        self._promotions = StripePromotions(stripe.v1)
        self._mirror = mirror
        self._clock = clock
        self._public_url = public_url

    async def start(self, principal: Principal, order: StartCheckout, once: Once) -> Replayable[StartedCheckout]:
        # 1. Judge the order, write the intent, and claim the Idempotency-Key.
        checkout_id = _checkout_id(principal, once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, StartedCheckout):
                return stored
            user = await buyer(tx)
            wanted = await self._judge(tx, user, order)
            await repository.write_intent(
                tx,
                id=checkout_id,
                user_id=user.id,
                plan_id=order.plan_id,
                interval=order.interval,
                quantity=order.quantity,
                currency=order.currency,
                promotion_code=order.promotion_code,
                is_trial=order.trial,
                license_id=order.license_id,
            )
        # 2. Call Stripe, outside of any transaction. A refusal releases the Idempotency-Key.
        try:
            session_id, url = await self._open_session(user, checkout_id, order, wanted)
        except Refusal:
            async with self._database.as_system(principal.user_id) as system:
                await repository.close_without_page(system, checkout_id)
                await once.give_back(system)
            raise
        # 3. Store Stripe's ids, and the answer under the Idempotency-Key.
        async with self._database.as_system(principal.user_id) as system:
            await repository.store_session(system, checkout_id, session_id=session_id, url=url)
            return await once.record(system, StartedCheckout(url, checkout_id))

    async def _judge(self, tx: CustomerTransaction, user: User, order: StartCheckout) -> _Wanted:
        """Refuses what our rows know to be wrong; promotion codes are Stripe's."""
        plan = await offer_of(tx, order.plan_id)
        row = await repository.known_of(tx, user.id, order.license_id, self._clock())
        if order.license_id is not None and row.license_status is None:
            raise NotFound("there is no such license of yours; check license_id")
        status = None if row.license_status is None else Status(row.license_status)
        known = orders.Known(row.currency, row.had_trial, status, row.is_paid_for)
        return _Wanted(orders.accept(order, plan, known), price_of(plan, order.interval), row.has_bought)

    async def one(self, principal: Principal, checkout_id: UUID) -> CheckoutView:
        """The state of the checkout. An open one is read from Stripe first, without waiting for a webhook."""
        checkout = await self._own(principal, checkout_id)
        if checkout.license_id is None and checkout.status == CheckoutStatus.OPEN:
            await self.refresh(checkout_id)
            checkout = await self._own(principal, checkout_id)
        return CheckoutView(
            session_id=checkout.id,
            status=checkout.status,
            plan_id=checkout.plan_id,
            interval=checkout.interval,
            license_id=checkout.license_id,
            quantity=checkout.quantity,
            refused_because=checkout.refused_because,
        )

    async def refresh(self, checkout_id: UUID) -> CheckoutOutcome:
        """Mirrors the checkout's session, as its webhook would, and returns its state.

        For a browser that comes back from the payment page. If Stripe does not answer now, the webhook will do it.
        """
        async with self._database.as_system() as tx:
            customer_id, session_id = await repository.customer_of(tx, checkout_id)
        if customer_id and session_id:
            await self._mirror_now(checkout_id, StripeObject("checkout.session", session_id, customer_id))
        async with self._database.as_system() as tx:
            checkout, license_id = await repository.with_license(tx, checkout_id)
        return CheckoutOutcome(checkout.status, licensed=license_id is not None)

    async def _own(self, principal: Principal, checkout_id: UUID) -> Record:
        rows = await self._reads.rows(principal.user_id, repository.OWN, {"checkout_id": checkout_id})
        if not rows:
            raise NotFound("there is no such checkout; check its id")
        return rows[0]

    async def _open_session(self, user: User, checkout_id: UUID, order: StartCheckout, wanted: _Wanted) -> _Opened:
        """Stripe's customer, session and payment page; the same ones each time for one checkout.

        A customer or a price that was deleted at Stripe is created again.
        """

        async def open_for(customer_id: str, replaced: bool) -> _Opened:  # noqa: FBT001  as `use` calls it
            sold = SessionOrder(
                price_id=wanted.price_id,
                quantity=order.quantity,
                currency=wanted.accepted.currency,
                promotion_id=await self._promotion(order, wanted, customer_id),
                trial_days=wanted.accepted.trial_days,
            )
            try:
                return await self._session_for(customer_id, checkout_id, sold, recreated=replaced)
            except GoneAtStripe as gone:
                if gone.parameter.startswith("discounts"):
                    raise orders.refused_by_stripe() from gone
                if not gone.is_price:
                    raise
                logger().warning("checkout.price_deleted", checkout_id=str(checkout_id), parameter=gone.parameter)
            fresh = (await self._plans.publish_one(self._stripe, order.plan_id))[order.interval]
            sold = msgspec.structs.replace(sold, price_id=fresh)
            return await self._session_for(customer_id, checkout_id, sold, recreated=True)

        return await self._customers.use(user, open_for)

    async def _promotion(self, order: StartCheckout, wanted: _Wanted, customer_id: str) -> str | None:
        """Stripe's id of the code that was given with the order. Unprocessable where it may not be used."""
        if order.promotion_code is None:
            return None
        code = await self._promotions.find(order.promotion_code)
        orders.expect_usable(
            order, code, wanted.accepted.price, customer_id, bought=wanted.has_bought, now=self._clock()
        )
        return None if code is None else code.id

    async def _session_for(
        self, customer_id: str, checkout_id: UUID, order: SessionOrder, *, recreated: bool
    ) -> _Opened:
        back = f"{self._public_url}{RETURN_PATH}?session_id={checkout_id}"
        session = await self._stripe.create_session(
            checkout_id,
            order,
            customer_id=customer_id,
            success_url=back,
            cancel_url=f"{back}&cancelled=1",
            recreated=recreated,
        )
        if session.url is None:
            raise PartnerUnavailable("Stripe has no payment page for this checkout; start another purchase")
        return _Opened(session.id, session.url)

    async def _mirror_now(self, checkout_id: UUID, session: StripeObject) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._mirror.mirror(session)
        except (Refusal, TimeoutError) as failure:
            cause = type(failure).__name__
            logger().warning("checkout.settle_postponed", checkout_id=str(checkout_id), cause=cause)


def _checkout_id(principal: Principal, once: Once) -> UUID:
    """The same for every request with one Idempotency-Key, so that a retry creates no second checkout."""
    if once.key is None:
        return new_id()
    return uuid5(NAMESPACE_URL, f"urn:nextpanel:checkout:{principal.user_id}:{once.key}")
