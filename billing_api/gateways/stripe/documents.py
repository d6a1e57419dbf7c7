"""Stripe documents: what Stripe keeps for a customer and we only pass on: the PDF of an invoice, and the balance."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec
import stripe
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from core.errors import NotFound, PartnerUnavailable
from core.telemetry import logger

_LARGEST_PDF: Final = 10 * 2**20
_WITHIN: Final = 6.0
_MOST_ENTRIES: Final = 100
_UNREADABLE: Final = "Stripe does not give the PDF at the moment; try again in a minute"


class BalanceEntryFacts(msgspec.Struct, frozen=True):
    """A change of the balance; amounts as we show them: credit is positive."""

    at: datetime
    amount: int
    balance: int
    currency: str
    kind: str
    description: str | None


class BalanceFacts(msgspec.Struct, frozen=True):
    balance: int
    currency: str
    entries: tuple[BalanceEntryFacts, ...]


class StripeDocuments:
    """Make one for each event loop; close it with the loop."""

    def __init__(self, v1: V1Services, *, api_base: str | None) -> None:
        """`api_base`: what stands in for Stripe; then its documents are wherever it says."""
        self._v1 = v1
        self._stands_in = api_base is not None
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def pdf(self, url: str) -> bytes:
        """The PDF that an invoice names. NotFound where it is none of Stripe's; PartnerUnavailable otherwise."""
        if not self._is_stripes(url):
            logger().error("stripe.foreign_document", host=urlsplit(url).hostname)
            raise NotFound("Stripe has no PDF of this invoice; write to support")
        try:
            async with self._client().stream("GET", url) as answer:
                if answer.status_code != httpx.codes.OK or not self._is_stripes(str(answer.url)):
                    raise PartnerUnavailable(_UNREADABLE)
                return await _whole(answer)
        except httpx.RequestError as failure:
            raise PartnerUnavailable(_UNREADABLE) from failure

    async def balance(self, customer_id: str) -> BalanceFacts | None:
        """None where the customer has no currency yet, or was deleted."""
        async with stripe_errors_mapped("Stripe does not answer; try again in a minute"):
            customer = await self._v1.customers.retrieve_async(customer_id)
            if getattr(customer, "deleted", False) or customer.currency is None:
                return None
            listed = await self._v1.customers.balance_transactions.list_async(customer_id, {"limit": _MOST_ENTRIES})
        # At Stripe a negative balance is credit.
        return BalanceFacts(-(customer.balance or 0), customer.currency, tuple(_entry(one) for one in listed.data))

    async def line_ids(self, invoice_id: str) -> list[str]:
        """Stripe's ids of the first ten lines, in their order."""
        async with stripe_errors_mapped():
            invoice = await self._v1.invoices.retrieve_async(invoice_id)
        return [line.id for line in invoice.lines.data]

    def _client(self) -> httpx.AsyncClient:
        """Made when it is needed first: it reads the machine's certificates, which takes a part of a start."""
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_WITHIN, follow_redirects=True, max_redirects=3)
        return self._http

    def _is_stripes(self, url: str) -> bool:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return self._stands_in or (parts.scheme == "https" and (host == "stripe.com" or host.endswith(".stripe.com")))


async def _whole(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _LARGEST_PDF:
            raise PartnerUnavailable(_UNREADABLE)
    if not body.startswith(b"%PDF-"):
        raise PartnerUnavailable(_UNREADABLE)
    return bytes(body)


def _entry(one: stripe.CustomerBalanceTransaction) -> BalanceEntryFacts:
    at = datetime.fromtimestamp(one.created, UTC)
    return BalanceEntryFacts(at, -one.amount, -one.ending_balance, one.currency, one.type, one.description)
