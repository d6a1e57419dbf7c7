"""A subscription's end and a pause of its collection at Stripe, as it was decided here.

Every call makes a state so, and finds it so when it is made again; none of them takes money that was not asked for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import stripe
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.errors import NotFound
from core.money import Money

_A_PAGE: Final = 100
_UNPAID: Final = ("open", "draft")
_BY_A_JOB: Final = "Stripe does not answer; it is asked again"
BY_ITS_CUSTOMER: Final = (
    "Stripe does not answer, so the subscription may have ended or not. Send the same request with the same"
    " Idempotency-Key again, or read the subscription"
)


class StripeEndings:
    def __init__(self, v1: V1Services, *, unanswered: str = _BY_A_JOB) -> None:
        """`unanswered`: what the one who asked is told where Stripe does not answer."""
        self._v1 = v1
        self._unanswered = unanswered

    async def end(self, subscription_id: str, *, credit: bool = False) -> None:
        """Ends it now. `credit`: a last invoice gives the rest of the paid period to the customer's balance.

        It ends before its invoices are voided: voiding that of one which runs would call its period paid.
        """
        async with self._mapped():
            with suppress(NotFound):
                async with stripe_errors_mapped(self._unanswered):
                    await self._v1.subscriptions.cancel_async(
                        subscription_id, {"invoice_now": credit, "prorate": credit}
                    )
        await self.void_unpaid(subscription_id)

    async def void_unpaid(self, subscription_id: str) -> None:
        """Nothing of an ended subscription is to be paid any more: what is open or a draft is voided."""
        async with self._mapped():
            for status in _UNPAID:
                for invoice_id in await self._invoices(subscription_id, status):
                    await self._void(invoice_id, is_draft=status == "draft")

    async def has_unpaid(self, facts: SubscriptionFacts) -> bool:
        """Whether a period is not paid. The invoice of an upgrade that waits for its payment is none of a period."""
        waits = {facts.latest_invoice_id} if facts.pending_price_id is not None else set()
        async with self._mapped():
            found = [invoice_id for status in _UNPAID for invoice_id in await self._invoices(facts.id, status)]
        return bool(set(found) - waits)

    async def credit_now(self, facts: SubscriptionFacts) -> Money:
        """What `end` would credit now."""
        details: Any = {"cancel_now": True, "proration_behavior": "create_prorations"}
        async with self._mapped():
            try:
                invoice = await self._v1.invoices.create_preview_async(
                    {"subscription": facts.id, "subscription_details": details}
                )
            except stripe.InvalidRequestError as failure:
                if failure.code != "invoice_upcoming_none":
                    raise
                return Money(0, facts.currency)
        return Money(max(-invoice.total, 0), invoice.currency)

    async def pause_collection(self, subscription_id: str) -> None:
        """Renewals stay drafts from now on."""
        async with self._mapped():
            await self._v1.subscriptions.update_async(
                subscription_id, {"pause_collection": {"behavior": "keep_as_draft"}}
            )

    async def resume_collection(self, subscription_id: str, *, latest_invoice_id: str | None) -> None:
        """Renewals are collected again: the draft of the present period too. Those of periods that are over are void.

        The license was suspended in them, or the dispute's loss would have ended it.
        """
        async with self._mapped():
            await self._v1.subscriptions.update_async(subscription_id, {"pause_collection": ""})
            for invoice_id in await self._invoices(subscription_id, "draft"):
                if invoice_id == latest_invoice_id:
                    await self._v1.invoices.update_async(invoice_id, {"auto_advance": True})
                else:
                    await self._void(invoice_id, is_draft=True)

    async def _invoices(self, subscription_id: str, status: str) -> list[str]:
        found = await self._v1.invoices.list_async(
            {"subscription": subscription_id, "status": status, "limit": _A_PAGE}
        )
        return [str(invoice.id) async for invoice in found.auto_paging_iter()]

    async def _void(self, invoice_id: str, *, is_draft: bool) -> None:
        """Stripe neither voids nor deletes a subscription's draft: it is finalized without being collected before."""
        if is_draft:
            await self._v1.invoices.finalize_invoice_async(invoice_id, {"auto_advance": False})
        try:
            await self._v1.invoices.void_invoice_async(invoice_id)
        except stripe.InvalidRequestError:
            # One of 0.00 is paid as soon as it is finalized, and one that was paid meanwhile goes back by itself.
            if (await self._v1.invoices.retrieve_async(invoice_id)).status not in {"paid", "void"}:
                raise

    @asynccontextmanager
    async def _mapped(self) -> AsyncIterator[None]:
        async with stripe_errors_mapped(self._unanswered):
            yield
