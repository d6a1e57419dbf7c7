"""A subscription's end and a pause of its collection at Stripe, as it was decided here.

Every call makes a state so, and finds it so when it is made again; none of them takes money that was not asked for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import stripe
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from core.errors import NotFound

_A_PAGE = 100


class StripeEndings:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def end(self, subscription_id: str) -> None:
        """Ends it now, without a last invoice and without credit; what is open or a draft is voided."""
        async with _asked_again():
            with suppress(NotFound):
                async with stripe_errors_mapped():
                    await self._v1.subscriptions.cancel_async(subscription_id, {"invoice_now": False, "prorate": False})
            for status in ("open", "draft"):
                for invoice_id in await self._invoices(subscription_id, status):
                    await self._void(invoice_id, is_draft=status == "draft")

    async def pause_collection(self, subscription_id: str) -> None:
        """Renewals stay drafts from now on."""
        async with _asked_again():
            await self._v1.subscriptions.update_async(
                subscription_id, {"pause_collection": {"behavior": "keep_as_draft"}}
            )

    async def resume_collection(self, subscription_id: str, *, latest_invoice_id: str | None) -> None:
        """Renewals are collected again: the draft of the present period too. Those of periods that are over are void.

        The license was suspended in them, or the dispute's loss would have ended it.
        """
        async with _asked_again():
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
async def _asked_again() -> AsyncIterator[None]:
    async with stripe_errors_mapped("Stripe does not answer; it is asked again"):
        yield
