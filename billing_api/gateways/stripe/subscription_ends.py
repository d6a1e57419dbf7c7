"""The end of a subscription at Stripe, with the period or at once, and what becomes of invoices that are not paid.

A canceled subscription's open invoice is not collected any more, but it can still be paid, and its draft stays a draft:
Stripe neither voids nor deletes it. So each is voided here, a draft after it was finalized without being collected. The
subscription ends first: voiding the invoice of one that runs would call its period paid.
"""

from typing import Any, Final, Protocol
from uuid import UUID

import stripe

from billing_api.gateways.stripe.client import StripeGateway, stripe_errors_mapped
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.money import Money

_UNKNOWN: Final = (
    "Stripe does not answer, so the subscription may have ended or not. Send the same request with the same"
    " Idempotency-Key again, or read the subscription"
)
_MOST: Final = 100


class SubscriptionEnds(Protocol):
    async def has_unpaid(self, facts: SubscriptionFacts) -> bool:
        """Whether an invoice is open, or a draft."""

    async def end_now(self, change_id: UUID, facts: SubscriptionFacts, *, credit: bool) -> None:
        """Ends it at once. `credit`: the rest of the paid period goes to the customer's balance."""

    async def void_unpaid(self, change_id: UUID, subscription_id: str) -> None:
        """Nothing of an ended subscription is to be paid any more."""

    async def credit_now(self, facts: SubscriptionFacts) -> Money:
        """What `end_now` would credit."""


class StripeEnds:
    def __init__(self, stripe_: StripeGateway) -> None:
        self._v1 = stripe_.v1

    async def has_unpaid(self, facts: SubscriptionFacts) -> bool:
        async with stripe_errors_mapped():
            return bool(await self._unpaid(facts.id))

    async def end_now(self, change_id: UUID, facts: SubscriptionFacts, *, credit: bool) -> None:
        async with stripe_errors_mapped(_UNKNOWN):
            if facts.schedule_id is not None:
                await self._release(change_id, facts.schedule_id)
            try:
                await self._v1.subscriptions.cancel_async(
                    facts.id,
                    {"prorate": credit, "invoice_now": credit},
                    {"idempotency_key": f"cancel-now-{change_id}"},
                )
            except stripe.InvalidRequestError as failure:
                if failure.http_status != 404:  # 404: it has ended already
                    raise
        await self.void_unpaid(change_id, facts.id)

    async def void_unpaid(self, change_id: UUID, subscription_id: str) -> None:
        async with stripe_errors_mapped(_UNKNOWN):
            for invoice in await self._unpaid(subscription_id):
                key = f"{change_id}-{invoice.id}"
                if invoice.status == "draft":
                    invoice = await self._v1.invoices.finalize_invoice_async(  # noqa: PLW2901  the same, one state on
                        str(invoice.id), {"auto_advance": False}, {"idempotency_key": f"finalize-{key}"}
                    )
                if invoice.status == "open":
                    await self._void(str(invoice.id), key)

    async def credit_now(self, facts: SubscriptionFacts) -> Money:
        details: Any = {"cancel_now": True, "proration_behavior": "create_prorations"}
        async with stripe_errors_mapped():
            try:
                invoice = await self._v1.invoices.create_preview_async(
                    {"subscription": facts.id, "subscription_details": details}
                )
            except stripe.InvalidRequestError as failure:
                if failure.code != "invoice_upcoming_none":
                    raise
                return Money(0, facts.currency)
        return Money(max(-invoice.total, 0), invoice.currency)

    async def _unpaid(self, subscription_id: str) -> list[stripe.Invoice]:
        found: list[stripe.Invoice] = []
        for status in ("draft", "open"):
            wanted: Any = {"subscription": subscription_id, "status": status, "limit": _MOST}
            found += (await self._v1.invoices.list_async(wanted)).data
        return found

    async def _release(self, change_id: UUID, schedule_id: str) -> None:
        try:
            await self._v1.subscription_schedules.release_async(
                schedule_id, {}, {"idempotency_key": f"release-{change_id}-{schedule_id}"}
            )
        except stripe.InvalidRequestError as failure:
            if failure.http_status != 404:
                raise

    async def _void(self, invoice_id: str, key: str) -> None:
        try:
            await self._v1.invoices.void_invoice_async(invoice_id, {}, {"idempotency_key": f"void-{key}"})
        except stripe.InvalidRequestError as failure:
            if failure.http_status != 404 and failure.code != "invoice_not_open":
                raise
