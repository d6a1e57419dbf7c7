"""Stripe, reduced to what we ask of it and the facts we read from it.

Every object is read whole and fresh, and given on as a small frozen struct: nothing behind this file knows the SDK.
Field places are those of the SDK's pinned API version (2026-10-28.endive): a subscription's period stands on its
items, an invoice's subscription under `parent`, its payment intents under `payments`. Every write carries an
idempotency key that is derived from a row stored before the first try.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import stripe
from stripe import HTTPXClient, StripeClient
from stripe._base_address import BaseAddresses

from core.errors import NotFound, PartnerRefused, PartnerUnavailable
from core.settings import StripeSettings
from core.telemetry import logger
from db.models.licensing import Interval

CHECKOUT_ID: Final = "np_checkout_id"
"""The metadata field that carries our checkout's id on sessions and subscriptions."""


class SessionFacts(msgspec.Struct, frozen=True):
    """A Checkout Session. `subscription_id` is there once it has been paid."""

    id: str
    url: str | None
    status: str
    payment_status: str
    customer_id: str | None
    subscription_id: str | None
    checkout_id: UUID | None


class SubscriptionFacts(msgspec.Struct, frozen=True):
    id: str
    customer_id: str
    status: str
    price_id: str
    period_start: datetime
    period_end: datetime
    ends_with_period: bool
    latest_invoice_id: str | None
    checkout_id: UUID | None


class PaymentFacts(msgspec.Struct, frozen=True):
    """A payment intent. `amount` in minor units."""

    intent_id: str
    amount: int
    currency: str
    status: str
    method: str | None
    created: datetime


class InvoiceFacts(msgspec.Struct, frozen=True):
    """An invoice and the payments made or tried for it. Amounts in minor units."""

    id: str
    customer_id: str
    subscription_id: str | None
    number: str | None
    status: str
    amount_due: int
    amount_paid: int
    currency: str
    pdf_url: str | None
    created: datetime
    due: datetime | None
    paid_at: datetime | None
    payments: tuple[PaymentFacts, ...]


class CatalogueEntry(msgspec.Struct, frozen=True):
    """A plan as Stripe shall know it; `amounts` in minor units by interval."""

    plan_id: UUID
    name: str
    description: str
    currency: str
    amounts: Mapping[Interval, int]


class Stripe(Protocol):
    """What the rest of the project asks of Stripe."""

    async def create_customer(self, user_id: UUID, *, email: str, name: str) -> str: ...

    async def create_session(
        self, checkout_id: UUID, *, customer_id: str, price_id: str, success_url: str, cancel_url: str
    ) -> SessionFacts: ...

    async def session(self, session_id: str) -> SessionFacts: ...

    async def subscription(self, subscription_id: str) -> SubscriptionFacts: ...

    async def invoice(self, invoice_id: str) -> InvoiceFacts: ...

    async def paid_invoice(self, subscription_id: str) -> InvoiceFacts | None: ...

    async def ensure_prices(self, entry: CatalogueEntry) -> dict[Interval, str]: ...


class StripeGateway:
    """The SDK's adapter. One for each event loop, closed with it."""

    def __init__(self, settings: StripeSettings, *, timeout: float = 6) -> None:
        # Three tries must end before a job's lease does, and before the database ends an idle transaction.
        # Building a client costs 0.2 s (the CA bundle); without max_network_retries it would not retry at all.
        self._http = HTTPXClient(timeout=timeout, allow_sync_methods=False)
        stripe.enable_telemetry = False
        bases: BaseAddresses = {"api": settings.api_base} if settings.api_base else {}
        client = StripeClient(settings.api_key, http_client=self._http, max_network_retries=2, base_addresses=bases)
        self._v1 = client.v1

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the SDK left it untyped

    async def create_customer(self, user_id: UUID, *, email: str, name: str) -> str:
        async with _stripe_answers():
            # Under the key nothing that may change: Stripe refuses a key that comes back with other parameters.
            customer = await self._v1.customers.create_async(
                {"metadata": {"np_user_id": str(user_id)}}, {"idempotency_key": f"customer-{user_id}"}
            )
            await self._v1.customers.update_async(customer.id, {"email": email, "name": name})
        return customer.id

    async def create_session(
        self, checkout_id: UUID, *, customer_id: str, price_id: str, success_url: str, cancel_url: str
    ) -> SessionFacts:
        marker = {CHECKOUT_ID: str(checkout_id)}
        async with _stripe_answers():
            session = await self._v1.checkout.sessions.create_async(
                {
                    "mode": "subscription",
                    "customer": customer_id,
                    "client_reference_id": str(checkout_id),
                    "line_items": [{"price": price_id, "quantity": 1}],
                    "metadata": marker,
                    "subscription_data": {"metadata": marker},
                    "success_url": success_url,
                    "cancel_url": cancel_url,
                    "allow_promotion_codes": True,
                },
                {"idempotency_key": f"checkout-{checkout_id}"},
            )
        return _session_facts(session)

    async def session(self, session_id: str) -> SessionFacts:
        async with _stripe_answers():
            return _session_facts(await self._v1.checkout.sessions.retrieve_async(session_id))

    async def subscription(self, subscription_id: str) -> SubscriptionFacts:
        async with _stripe_answers():
            subscription = await self._v1.subscriptions.retrieve_async(subscription_id)
        item = subscription["items"].data[0]
        return SubscriptionFacts(
            id=subscription.id,
            customer_id=_id(subscription.customer),
            status=subscription.status,
            price_id=item.price.id,
            period_start=_instant(item.current_period_start),
            period_end=_instant(item.current_period_end),
            # Flexible billing writes a scheduled end as a date, the portal's older way as a flag.
            ends_with_period=bool(subscription.cancel_at_period_end or subscription.cancel_at),
            latest_invoice_id=_optional_id(subscription.latest_invoice),
            checkout_id=_checkout_id(subscription.metadata),
        )

    async def invoice(self, invoice_id: str) -> InvoiceFacts:
        async with _stripe_answers():
            invoice = await self._v1.invoices.retrieve_async(
                invoice_id, {"expand": ["payments.data.payment.payment_intent"]}
            )
        parent = invoice.parent.subscription_details if invoice.parent else None
        payments = invoice.payments.data if invoice.payments else []
        return InvoiceFacts(
            id=str(invoice.id),
            customer_id=_id(invoice.customer),
            subscription_id=_id(parent.subscription) if parent else None,
            number=invoice.number,
            status=invoice.status or "draft",
            amount_due=invoice.amount_due,
            amount_paid=invoice.amount_paid,
            currency=invoice.currency,
            pdf_url=getattr(invoice, "invoice_pdf", None),
            created=_instant(invoice.created),
            due=_optional_instant(invoice.due_date),
            paid_at=_optional_instant(invoice.status_transitions.paid_at),
            payments=tuple(_payment_facts(p.payment.payment_intent) for p in payments if _is_intent(p.payment)),
        )

    async def paid_invoice(self, subscription_id: str) -> InvoiceFacts | None:
        """The newest invoice of the subscription that was paid."""
        async with _stripe_answers():
            found = await self._v1.invoices.list_async({"subscription": subscription_id, "status": "paid", "limit": 1})
        return await self.invoice(str(found.data[0].id)) if found.data else None

    async def ensure_prices(self, entry: CatalogueEntry) -> dict[Interval, str]:
        """Product and prices for one plan; found again by lookup key, so that a second run makes nothing."""
        async with _stripe_answers():
            lookup = {interval: self._lookup_key(entry, interval) for interval in entry.amounts}
            found = await self._v1.prices.list_async({"lookup_keys": list(lookup.values()), "limit": 10})
            known = {price.lookup_key: price.id for price in found.data}
            missing = [interval for interval in lookup if lookup[interval] not in known]
            for interval in missing:
                price = await self._v1.prices.create_async(
                    {
                        "product": await self._ensure_product(entry),
                        "currency": entry.currency,
                        "unit_amount": entry.amounts[interval],
                        "recurring": {"interval": interval.value},
                        "lookup_key": lookup[interval],
                    },
                    {"idempotency_key": f"price-{lookup[interval]}"},
                )
                known[lookup[interval]] = price.id
        return {interval: known[key] for interval, key in lookup.items()}

    async def _ensure_product(self, entry: CatalogueEntry) -> str:
        """Its id is ours, so that there is one however long ago it was made."""
        product_id, facts = f"np_{entry.plan_id}", {"name": f"NextPanel {entry.name}", "description": entry.description}
        try:
            await self._v1.products.create_async({"id": product_id, **facts})  # type: ignore[typeddict-item]  # two of its fields
        except stripe.InvalidRequestError as failure:
            if failure.code != "resource_already_exists":
                raise
            await self._v1.products.update_async(product_id, facts)  # type: ignore[arg-type]  # two of its fields
        return product_id

    def _lookup_key(self, entry: CatalogueEntry, interval: Interval) -> str:
        """Names everything that a price cannot change, so that a changed price is another price."""
        return f"np-{entry.plan_id}-{interval}-{entry.amounts[interval]}-{entry.currency}"


@asynccontextmanager
async def _stripe_answers() -> AsyncIterator[None]:
    """Stripe's failures as ours: what may pass is PartnerUnavailable, what is not there is NotFound."""
    try:
        yield
    except stripe.InvalidRequestError as failure:
        if failure.http_status == 404:
            raise NotFound("Stripe knows no such object") from failure
        logger().error("stripe.refused", code=failure.code, parameter=failure.param, status=failure.http_status)
        raise PartnerRefused("Stripe refused the request; nothing was charged") from failure
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as failure:
        raise PartnerUnavailable("Stripe does not answer; nothing was charged, try again") from failure
    except stripe.StripeError as failure:
        logger().error("stripe.refused", kind=type(failure).__name__, code=failure.code, status=failure.http_status)
        raise PartnerRefused("Stripe refused the request; nothing was charged") from failure


def _session_facts(session: stripe.checkout.Session) -> SessionFacts:
    return SessionFacts(
        id=session.id,
        url=session.url,
        status=session.status or "open",
        payment_status=session.payment_status,
        customer_id=_optional_id(session.customer),
        subscription_id=_optional_id(session.subscription),
        checkout_id=_checkout_id(session.metadata),
    )


def _payment_facts(intent: Any) -> PaymentFacts:
    return PaymentFacts(
        intent_id=intent.id,
        amount=intent.amount,
        currency=intent.currency,
        status=intent.status,
        # Which of several was used stands on the charge, too deep to be expanded with the invoice.
        method=intent.payment_method_types[0] if len(intent.payment_method_types) == 1 else None,
        created=_instant(intent.created),
    )


def _is_intent(payment: Any) -> bool:
    return payment.type == "payment_intent" and payment.payment_intent is not None


def _checkout_id(metadata: Any) -> UUID | None:
    raw = metadata.to_dict().get(CHECKOUT_ID) if metadata else None
    try:
        return UUID(raw) if raw else None
    except ValueError:
        return None  # somebody else's metadata under our name


def _id(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(reference.id)


def _optional_id(reference: Any) -> str | None:
    return None if reference is None else _id(reference)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else _instant(seconds)
