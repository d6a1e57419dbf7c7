"""Payment methods at Stripe: a customer's cards, adding one (SetupIntent), and which one is charged.

No number of a card ever reaches us: the browser sends it to Stripe with the intent's client secret, and we read what
Stripe shows of the card.
"""

from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import stripe

from billing_api.gateways.stripe.client import StripeGateway, stripe_errors_mapped
from core.telemetry import logger

SETUP_ID: Final = "np_setup_id"
"""The metadata field that carries our id of a setup."""
_MOST: Final = 100
_UNKNOWN: Final = "Stripe does not answer, so the card may be in use already. Read payment-methods, then try again"
_RUNNING: Final = frozenset({"active", "trialing", "past_due", "unpaid", "incomplete", "paused"})


class CardFacts(msgspec.Struct, frozen=True):
    """A card, as far as it may be shown."""

    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


class Wallet(msgspec.Struct, frozen=True):
    """A customer's cards, the newest first, and the id of the one that is charged; None where none is."""

    cards: tuple[CardFacts, ...]
    default_id: str | None


class SetupFacts(msgspec.Struct, frozen=True):
    """A SetupIntent. `method_id` is the card that was typed, attached to the customer once `status` is succeeded."""

    id: str
    status: str
    client_secret: str
    customer_id: str | None
    method_id: str | None
    error: str | None


class Collected(msgspec.Struct, frozen=True):
    """An open invoice that was tried with a new card. `error`: why it is still open; `page_url`: where to pay it."""

    invoice_id: str
    paid: bool
    error: str | None = None
    page_url: str | None = None


class StripeWallets(Protocol):
    """The calls that the room payment_methods makes."""

    async def wallet(self, customer_id: str) -> Wallet: ...

    async def begin_setup(self, setup_id: UUID, customer_id: str) -> SetupFacts: ...

    async def setup(self, intent_id: str) -> SetupFacts:
        """NotFound where Stripe has no such intent."""

    async def charge_with(self, customer_id: str, method_id: str) -> None:
        """From now on this card is charged, for the customer and for each running subscription."""

    async def collect_open(self, customer_id: str, method_id: str) -> list[Collected]:
        """Tries each open invoice with this card."""

    async def collect_oldest(self, subscription_id: str, method_id: str | None) -> Collected | None:
        """Tries the subscription's oldest open invoice, by default with the card that is charged. None: none is."""

    async def collect(self, invoice_id: str) -> Collected:
        """Tries this invoice, with the card that is charged, while its owner is not there."""

    async def detach(self, method_id: str) -> None:
        """Idempotent: a card that is gone needs no further call."""


class StripePaymentMethods:
    def __init__(self, stripe_: StripeGateway) -> None:
        self._v1 = stripe_.v1

    async def wallet(self, customer_id: str) -> Wallet:
        async with stripe_errors_mapped():
            customer = await self._v1.customers.retrieve_async(customer_id, {"expand": ["subscriptions"]})
            if getattr(customer, "deleted", False):
                return Wallet((), None)
            found = await self._v1.customers.payment_methods.list_async(customer_id, {"type": "card", "limit": _MOST})
        return Wallet(tuple(_card(method) for method in found.data), _charged(customer))

    async def begin_setup(self, setup_id: UUID, customer_id: str) -> SetupFacts:
        async with stripe_errors_mapped():
            intent = await self._v1.setup_intents.create_async(
                {
                    "customer": customer_id,
                    "usage": "off_session",
                    "allowed_payment_method_types": ["card"],
                    "metadata": {SETUP_ID: str(setup_id)},
                },
                {"idempotency_key": f"setup-{setup_id}-{customer_id}"},
            )
        return _setup(intent)

    async def setup(self, intent_id: str) -> SetupFacts:
        async with stripe_errors_mapped():
            return _setup(await self._v1.setup_intents.retrieve_async(intent_id))

    async def charge_with(self, customer_id: str, method_id: str) -> None:
        # Setting the same card twice changes nothing, so these calls need no keys of their own.
        async with stripe_errors_mapped(_UNKNOWN):
            await self._v1.customers.update_async(
                customer_id, {"invoice_settings": {"default_payment_method": method_id}}
            )
            found = await self._v1.subscriptions.list_async({"customer": customer_id, "limit": _MOST})
            for subscription in found.data:
                if subscription.status in _RUNNING:  # its own card would go before the customer's
                    await self._v1.subscriptions.update_async(subscription.id, {"default_payment_method": method_id})

    async def collect_open(self, customer_id: str, method_id: str) -> list[Collected]:
        async with stripe_errors_mapped(_UNKNOWN):
            found = await self._v1.invoices.list_async({"customer": customer_id, "status": "open", "limit": _MOST})
            return [await self._collect(str(invoice.id), method_id) for invoice in found.data]

    async def collect_oldest(self, subscription_id: str, method_id: str | None) -> Collected | None:
        wanted: Any = {"subscription": subscription_id, "status": "open", "limit": _MOST}
        async with stripe_errors_mapped(_UNKNOWN):
            found = await self._v1.invoices.list_async(wanted)
            return await self._collect(str(found.data[-1].id), method_id) if found.data else None

    async def collect(self, invoice_id: str) -> Collected:
        async with stripe_errors_mapped(_UNKNOWN):
            return await self._collect(invoice_id, None, off_session=True)

    async def _collect(self, invoice_id: str, method_id: str | None, *, off_session: bool = False) -> Collected:
        """Stripe pays an invoice once, however often it is asked: one that is paid is no longer open."""
        how: Any = {"off_session": off_session} | ({"payment_method": method_id} if method_id else {})
        try:
            paid = await self._v1.invoices.pay_async(invoice_id, how)
        except stripe.CardError as failure:
            return Collected(invoice_id, paid=False, error=failure.user_message)
        except stripe.InvalidRequestError as failure:
            if failure.http_status == 404 or failure.code in {"invoice_paid", "invoice_void"}:
                return Collected(invoice_id, paid=failure.code == "invoice_paid")
            raise
        return Collected(invoice_id, paid.status == "paid", page_url=getattr(paid, "hosted_invoice_url", None))

    async def detach(self, method_id: str) -> None:
        async with stripe_errors_mapped(_UNKNOWN):
            try:
                await self._v1.payment_methods.detach_async(method_id)
            except stripe.InvalidRequestError as failure:
                logger().info("stripe.method_gone", method_id=method_id, code=failure.code)


def _charged(customer: stripe.Customer) -> str | None:
    """The card that is charged. After a checkout it is the subscription's own, and the customer has no default."""
    settings = customer.invoice_settings
    running = customer.subscriptions.data if customer.subscriptions else []
    chosen = [settings.default_payment_method if settings else None, *(one.default_payment_method for one in running)]
    return next((_id(method) for method in chosen if method is not None), None)


def _card(method: stripe.PaymentMethod) -> CardFacts:
    card: Any = method.card
    return CardFacts(method.id, card.display_brand or card.brand, card.last4, card.exp_month, card.exp_year)


def _setup(intent: stripe.SetupIntent) -> SetupFacts:
    error = intent.last_setup_error
    return SetupFacts(
        id=intent.id,
        status=intent.status,
        client_secret=intent.client_secret or "",
        customer_id=_id(intent.customer),
        method_id=_id(intent.payment_method),
        error=error.message if error else None,
    )


def _id(reference: Any) -> str | None:
    if reference is None or isinstance(reference, str):
        return reference
    return str(reference.id)
