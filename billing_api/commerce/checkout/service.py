"""Checkout (write-ahead intent): from a plan to a paid Stripe Checkout Session.

The intent is written before Stripe is called, and its id is the idempotency key of that call. So a request that dies
half-way, or is sent twice, gets the same session. This service never decides whether the purchase is paid: it mirrors
Stripe's object.
"""

import asyncio
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from billing_api.access.permissions import Principal
from billing_api.commerce.checkout import repository
from billing_api.commerce.checkout.schemas import (
    CheckoutView,
    StartCheckout,
    StartedCheckout,
)
from billing_api.commerce.plans.repository import price_on_offer
from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_customers.repository import buyer
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import GoneAtStripe, Stripe
from core.errors import FieldError, InvalidInput, NotFound, PartnerUnavailable, Refusal
from core.ids import new_id
from core.telemetry import logger
from db.idempotency import Once, Replayable
from db.models.commerce import CheckoutStatus
from db.models.identity import User
from db.reads import CustomerReads, Record
from db.unit_of_work import Database

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


class CheckoutService:
    def __init__(
        self, database: Database, reads: CustomerReads, stripe: Stripe, mirror: Mirror, *, public_url: str
    ) -> None:
        """`public_url`: the address under which a customer's browser reaches the return page."""
        self._database = database
        self._reads = reads
        self._plans = PlanService(database)
        self._stripe = stripe
        self._customers = StripeCustomers(database, stripe)
        self._mirror = mirror
        self._public_url = public_url

    async def start(self, principal: Principal, order: StartCheckout, once: Once) -> Replayable[StartedCheckout]:
        if order.promotion_code is not None:
            told = "promotion codes are entered on the payment page; leave promotion_code out"
            raise InvalidInput(told, errors=(FieldError("promotion_code", "is entered on the payment page"),))
        # 1. Write the intent, and claim the Idempotency-Key.
        checkout_id = _checkout_id(principal, once)
        async with self._database.as_customer(principal.user_id) as tx:
            if stored := await once.claim(tx, StartedCheckout):
                return stored
            user = await buyer(tx)
            price_id = await price_on_offer(tx, order.plan_id, order.interval)
            await repository.write_intent(
                tx, id=checkout_id, user_id=user.id, plan_id=order.plan_id, interval=order.interval
            )
        # 2. Call Stripe, outside of any transaction. A refusal releases the Idempotency-Key.
        try:
            session_id, url = await self._open_session(user, checkout_id, order, price_id)
        except Refusal:
            async with self._database.as_system(principal.user_id) as system:
                await once.give_back(system)
            raise
        # 3. Store Stripe's ids, and the answer under the Idempotency-Key.
        async with self._database.as_system(principal.user_id) as system:
            await repository.store_session(system, checkout_id, session_id=session_id, url=url)
            return await once.record(system, StartedCheckout(url, checkout_id))

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

    async def _open_session(self, user: User, checkout_id: UUID, order: StartCheckout, price_id: str) -> _Opened:
        """Stripe's customer, session and payment page; the same ones each time for one checkout.

        A customer or a price that was deleted at Stripe is created again.
        """

        async def open_for(customer_id: str, replaced: bool) -> _Opened:  # noqa: FBT001  as `use` calls it
            try:
                return await self._session_for(customer_id, checkout_id, price_id, recreated=replaced)
            except GoneAtStripe as gone:
                if not gone.is_price:
                    raise
                logger().warning("checkout.price_deleted", checkout_id=str(checkout_id), parameter=gone.parameter)
            fresh = (await self._plans.publish_one(self._stripe, order.plan_id))[order.interval]
            return await self._session_for(customer_id, checkout_id, fresh, recreated=True)

        return await self._customers.use(user, open_for)

    async def _session_for(self, customer_id: str, checkout_id: UUID, price_id: str, *, recreated: bool) -> _Opened:
        back = f"{self._public_url}{RETURN_PATH}?session_id={checkout_id}"
        session = await self._stripe.create_session(
            checkout_id,
            customer_id=customer_id,
            price_id=price_id,
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
