"""Lists at Stripe that reconciliation reads: events by their time, and what a customer has. The newest come first."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final

from stripe._v1_services import V1Services
from stripe.params import EventListParams

from billing_api.gateways.stripe.client import stripe_errors_mapped

_PAGE: Final = 100
_UNANSWERED: Final = "Stripe does not answer; its events are read again in five minutes"


class StripeListing:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def events(self, since: datetime, until: datetime) -> AsyncIterator[list[dict[str, Any]]]:
        """Pages of events, whole, as webhooks deliver them. Stripe keeps events for thirty days."""
        wanted: EventListParams = {
            "created": {"gte": int(since.timestamp()), "lte": int(until.timestamp())},
            "limit": _PAGE,
        }
        while True:
            async with stripe_errors_mapped(_UNANSWERED):
                page = await self._v1.events.list_async(wanted)
            yield [event.to_dict(for_json=True) for event in page.data]
            if not page.has_more:
                return
            wanted["starting_after"] = page.data[-1].id

    async def subscriptions_of(self, customer_id: str) -> list[str]:
        """The ids of all subscriptions, ended ones too. Empty for a customer that was deleted."""
        async with stripe_errors_mapped(_UNANSWERED):
            page = await self._v1.subscriptions.list_async({"customer": customer_id, "status": "all", "limit": _PAGE})
            return [one.id async for one in page.auto_paging_iter()]

    async def open_invoices_of(self, customer_id: str) -> list[str]:
        async with stripe_errors_mapped(_UNANSWERED):
            page = await self._v1.invoices.list_async({"customer": customer_id, "status": "open", "limit": _PAGE})
            return [str(one.id) async for one in page.auto_paging_iter()]
