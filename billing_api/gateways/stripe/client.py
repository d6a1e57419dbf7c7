"""Stripe client: the API calls that we make, through Stripe's SDK.

Every object is read as it is now and passed on as a small frozen struct (facts.py); no other room knows the SDK. Every
write carries an idempotency key that is derived from a row stored before the first attempt.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import stripe
from stripe import HTTPXClient, StripeClient
from stripe._base_address import BaseAddresses
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.bills import CreditNoteFacts, credit_note_facts, has_credit_notes
from billing_api.gateways.stripe.facts import (
    CHECKOUT_ID,
    EXPANDED,
    InvoiceFacts,
    SessionFacts,
    SubscriptionFacts,
    invoice_facts,
    session_facts,
    subscription_facts,
)
from core.deadline import DEADLINE, MAY_HAVE_HAPPENED, in_doubt
from core.errors import NotFound, PartnerRefused, PartnerUnavailable, Refusal, Unavailable
from core.settings import StripeSettings
from core.telemetry import logger
from db.models.licensing import Interval

_PRICE: Final = "[price]"
"""Names of parameters that hold a price end like this."""


class CatalogueEntry(msgspec.Struct, frozen=True):
    """A plan as Stripe should store it; `amounts` are minor units by interval."""

    plan_id: UUID
    name: str
    description: str
    currency: str
    amounts: Mapping[Interval, int]
    others: Mapping[str, Mapping[str, int]]
    """Amounts in other currencies, by currency and interval."""


class SessionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a payment page sells. `promotion_id`: Stripe's id of the code; None lets codes be entered on the page."""

    price_id: str
    quantity: int = 1
    currency: str | None = None
    promotion_id: str | None = None
    trial_days: int | None = None
    """The first charge comes after so many days; a card is taken at once."""


class GoneAtStripe(PartnerRefused):
    """A call named an object that Stripe has deleted, in `parameter`; `object_id` is its id where that is known.

    Callers that can create the object again do so and repeat the call.
    """

    def __init__(self, parameter: str, object_id: str | None = None) -> None:
        super().__init__("An object at Stripe was deleted; nothing was charged. Try again, or write to support")
        self.parameter = parameter
        self.object_id = object_id

    @property
    def is_price(self) -> bool:
        return self.parameter.endswith(_PRICE)


class Stripe(Protocol):
    """The calls that other rooms make. A read returns None where Stripe has no such object."""

    @property
    def v1(self) -> V1Services:
        """The SDK's services, for the other adapters of this room."""

    async def create_customer(self, user_id: UUID, *, email: str, name: str, generation: int) -> str: ...

    async def delete_customer(self, customer_id: str) -> None: ...

    async def has_customer(self, customer_id: str) -> bool: ...

    async def create_session(
        self,
        checkout_id: UUID,
        order: SessionOrder,
        *,
        customer_id: str,
        success_url: str,
        cancel_url: str,
        recreated: bool,
    ) -> SessionFacts: ...

    async def session(self, session_id: str) -> SessionFacts | None: ...

    async def subscription(self, subscription_id: str) -> SubscriptionFacts | None: ...

    async def invoice(self, invoice_id: str) -> InvoiceFacts | None: ...

    async def paid_invoice(self, subscription_id: str) -> InvoiceFacts | None: ...

    async def ensure_prices(self, entry: CatalogueEntry) -> dict[Interval, str]: ...

    async def archive_prices(self, plan_id: UUID, *, keep: Collection[str]) -> None: ...


class StripeGateway:
    """Adapter of the SDK. Make one for each event loop; close it with the loop."""

    def __init__(self, settings: StripeSettings, *, timeout: float = 6) -> None:
        # Three attempts must end before a job's claim ends, and before the database ends an idle transaction. In a
        # request all attempts together end with its deadline.
        # A client takes 0.2 s to build (the CA bundle). Without max_network_retries it would not retry.
        self._http = HTTPXClient(timeout=timeout, allow_sync_methods=False)
        stripe.enable_telemetry = False
        bases: BaseAddresses = {"api": settings.api_base} if settings.api_base else {}
        client = StripeClient(settings.api_key, http_client=self._http, max_network_retries=2, base_addresses=bases)
        self._v1 = client.v1

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK left it untyped

    @property
    def v1(self) -> V1Services:
        """The SDK's services, for subscription_changes.py."""
        return self._v1

    async def create_customer(self, user_id: UUID, *, email: str, name: str, generation: int) -> str:
        """`generation`: how many of the user's customers were deleted. An older key would return a deleted customer."""
        key = f"customer-{user_id}-{generation}" if generation else f"customer-{user_id}"
        # 1. Create with parameters that never change: Stripe refuses a key that comes back with other parameters.
        async with stripe_errors_mapped():
            customer = await self._v1.customers.create_async(
                {"metadata": {"np_user_id": str(user_id)}}, {"idempotency_key": key}
            )
        # 2. Set the parameters that may change.
        try:
            async with stripe_errors_mapped():
                await self._v1.customers.update_async(customer.id, {"email": email, "name": name})
        except NotFound as gone:
            raise GoneAtStripe("customer", customer.id) from gone
        return customer.id

    async def delete_customer(self, customer_id: str) -> None:
        """Deletes the customer with cards, address and subscriptions. Idempotent: a DELETE needs no key."""
        try:
            async with stripe_errors_mapped("Stripe does not answer; the deletion of the customer is retried"):
                await self._v1.customers.delete_async(customer_id)
        except NotFound:
            logger().info("stripe.customer_gone", customer_id=customer_id)

    async def has_customer(self, customer_id: str) -> bool:
        """False for one that was deleted."""
        with suppress(NotFound):
            async with stripe_errors_mapped():
                customer = await self._v1.customers.retrieve_async(customer_id)
            return not getattr(customer, "deleted", False)
        return False

    async def create_session(
        self,
        checkout_id: UUID,
        order: SessionOrder,
        *,
        customer_id: str,
        success_url: str,
        cancel_url: str,
        recreated: bool,
    ) -> SessionFacts:
        """`recreated`: customer or price replaced a deleted one, so the call needs a key of its own."""
        marker = {CHECKOUT_ID: str(checkout_id)}
        key = f"checkout-{checkout_id}-{customer_id}-{order.price_id}" if recreated else f"checkout-{checkout_id}"
        data: Any = {"metadata": marker}
        more: Any = {"discounts": [{"promotion_code": order.promotion_id}]} if order.promotion_id else {}
        if not more:
            more["allow_promotion_codes"] = True
        if order.currency is not None:
            more["currency"] = order.currency
        if order.trial_days is not None:
            data["trial_period_days"] = order.trial_days
            more["payment_method_collection"] = "always"
        wanted: Any = {
            "mode": "subscription",
            "customer": customer_id,
            "client_reference_id": str(checkout_id),
            "line_items": [{"price": order.price_id, "quantity": order.quantity}],
            "metadata": marker,
            "subscription_data": data,
            "success_url": success_url,
            "cancel_url": cancel_url,
            **more,
        }
        async with _missing_object_named(), stripe_errors_mapped():
            session = await self._v1.checkout.sessions.create_async(wanted, {"idempotency_key": key})
        return session_facts(session)

    async def session(self, session_id: str) -> SessionFacts | None:
        with suppress(NotFound):
            async with stripe_errors_mapped():
                return session_facts(await self._v1.checkout.sessions.retrieve_async(session_id))
        return None

    async def subscription(self, subscription_id: str) -> SubscriptionFacts | None:
        with suppress(NotFound):
            async with stripe_errors_mapped():
                found = await self._v1.subscriptions.retrieve_async(subscription_id, {"expand": list(EXPANDED)})
            return subscription_facts(found)
        return None

    async def invoice(self, invoice_id: str) -> InvoiceFacts | None:
        with suppress(NotFound):
            async with stripe_errors_mapped():
                found = await self._v1.invoices.retrieve_async(
                    invoice_id, {"expand": ["payments.data.payment.payment_intent"]}
                )
                notes = await self._credit_notes(invoice_id) if has_credit_notes(found) else ()
            return invoice_facts(found, notes)
        return None

    async def _credit_notes(self, invoice_id: str) -> tuple[CreditNoteFacts, ...]:
        listed = await self._v1.credit_notes.list_async({"invoice": invoice_id, "limit": 100})
        return tuple(credit_note_facts(note) for note in reversed(listed.data))

    async def paid_invoice(self, subscription_id: str) -> InvoiceFacts | None:
        """The newest paid invoice of the subscription."""
        async with stripe_errors_mapped():
            found = await self._v1.invoices.list_async({"subscription": subscription_id, "status": "paid", "limit": 1})
        return await self.invoice(str(found.data[0].id)) if found.data else None

    async def ensure_prices(self, entry: CatalogueEntry) -> dict[Interval, str]:
        """Stripe's price ids for one plan. Idempotent: existing prices are found by their lookup keys."""
        async with stripe_errors_mapped():
            # 1. Find the prices that exist.
            lookup = {interval: self._lookup_key(entry, interval) for interval in entry.amounts}
            found = await self._v1.prices.list_async({"lookup_keys": list(lookup.values()), "limit": 10})
            known = {price.lookup_key: price.id for price in found.data}
            for price in found.data:
                if not price.active:  # a price that was changed, and changed back
                    await self._v1.prices.update_async(price.id, {"active": True})
            # 2. Create the others.
            missing = [interval for interval in lookup if lookup[interval] not in known]
            for interval in missing:
                price = await self._v1.prices.create_async(
                    {
                        "product": await self._ensure_product(entry),
                        "currency": entry.currency,
                        "unit_amount": entry.amounts[interval],
                        "recurring": {"interval": interval.value},
                        "lookup_key": lookup[interval],
                        "tax_behavior": "exclusive",
                        "currency_options": {
                            name: {"unit_amount": amounts[interval]} for name, amounts in entry.others.items()
                        },
                    },
                    {"idempotency_key": f"price-{lookup[interval]}"},
                )
                known[lookup[interval]] = price.id
        return {interval: known[key] for interval, key in lookup.items()}

    async def archive_prices(self, plan_id: UUID, *, keep: Collection[str]) -> None:
        """Archives the plan's other prices: nobody can buy at them, and their subscribers go on to pay them."""
        with suppress(NotFound):
            async with stripe_errors_mapped():
                wanted: Any = {"product": f"np_{plan_id}", "active": True, "limit": 100}
                found = await self._v1.prices.list_async(wanted)
                async for price in found.auto_paging_iter():
                    if price.id not in keep:
                        await self._v1.prices.update_async(price.id, {"active": False})

    async def _ensure_product(self, entry: CatalogueEntry) -> str:
        """Creates or updates the product. We choose its id, so there is one product for each plan."""
        product_id, facts = f"np_{entry.plan_id}", {"name": f"NextPanel {entry.name}", "description": entry.description}
        try:
            await self._v1.products.create_async({"id": product_id, **facts})  # type: ignore[typeddict-item]  # two of its fields
        except stripe.InvalidRequestError as failure:
            if failure.code != "resource_already_exists":
                raise
            await self._v1.products.update_async(product_id, facts)  # type: ignore[arg-type]  # two of its fields
        return product_id

    def _lookup_key(self, entry: CatalogueEntry, interval: Interval) -> str:
        """Contains everything that is fixed in a price, so that a changed amount becomes another price."""
        others = "".join(f"-{name}{entry.others[name][interval]}" for name in sorted(entry.others))
        return f"np-{entry.plan_id}-{interval}-{entry.amounts[interval]}-{entry.currency}{others}"


@asynccontextmanager
async def _missing_object_named() -> AsyncIterator[None]:
    """For a call whose path names no object: a missing object is then one that a parameter names.

    A discount may be refused for more reasons; for the one who wanted it, it is not there.
    """
    try:
        yield
    except NotFound as absent:
        if parameter := _parameter(absent):
            raise GoneAtStripe(parameter) from absent
        raise
    except PartnerRefused as refused:
        if (parameter := _parameter(refused)).startswith("discounts"):
            raise GoneAtStripe(parameter) from refused
        raise


@asynccontextmanager
async def missing_price_named() -> AsyncIterator[None]:
    """For a call that names a price, and another object in its path: GoneAtStripe where the price is missing."""
    try:
        yield
    except NotFound as absent:
        if (parameter := _parameter(absent)).endswith(_PRICE):
            raise GoneAtStripe(parameter) from absent
        raise


def _parameter(refusal: Refusal) -> str:
    """The parameter that Stripe refused; empty where Stripe named none."""
    cause = refusal.__cause__
    return cause.param or "" if isinstance(cause, stripe.InvalidRequestError) else ""


@asynccontextmanager
async def stripe_errors_mapped(
    unanswered: str = "Stripe does not answer; nothing was charged. Try again",
) -> AsyncIterator[None]:
    """Maps the SDK's errors to ours: transient ones to PartnerUnavailable, missing objects to NotFound.

    In a request, the calls must end within the request's time for partners (core/deadline.py). A job has its claim.
    """
    deadline = DEADLINE.get()
    in_doubt()
    try:
        async with asyncio.timeout_at(deadline.partners_until if deadline else None):
            yield
    except TimeoutError as failure:
        raise Unavailable(f"Stripe took too long: {MAY_HAVE_HAPPENED}") from failure
    except stripe.InvalidRequestError as failure:
        if failure.http_status == 404:
            raise NotFound("Stripe has no such object") from failure
        logger().error("stripe.refused", code=failure.code, parameter=failure.param, status=failure.http_status)
        if failure.code == "resource_missing" and failure.param:
            raise GoneAtStripe(failure.param) from failure
        raise PartnerRefused("Stripe refused the request; nothing was charged") from failure
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as failure:
        raise PartnerUnavailable(unanswered) from failure
    except stripe.StripeError as failure:
        logger().error("stripe.refused", kind=type(failure).__name__, code=failure.code, status=failure.http_status)
        raise PartnerRefused("Stripe refused the request; nothing was charged") from failure
