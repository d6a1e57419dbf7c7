"""Upcoming invoices: what the next renewal charges, by Stripe's own reckoning of discounts, taxes and balance."""

from typing import Any

from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.errors import Refusal
from core.telemetry import logger


class StripeUpcoming:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def amount(self, facts: SubscriptionFacts) -> int | None:
        """In minor units of the subscription's currency. None where Stripe cannot tell now: nothing depends on it."""
        wanted: Any = {"subscription": facts.id}
        if facts.scheduled is not None:
            item: dict[str, Any] = {"id": facts.item_id, "quantity": facts.scheduled.quantity}
            if facts.scheduled.price_id != facts.price_id:  # one that stays may be archived
                item["price"] = facts.scheduled.price_id
            wanted["subscription_details"] = {"items": [item], "proration_behavior": "none"}
        try:
            async with stripe_errors_mapped():
                return (await self._v1.invoices.create_preview_async(wanted)).amount_due
        except Refusal as refusal:
            logger().warning("stripe.no_upcoming_invoice", subscription=facts.id, cause=type(refusal).__name__)
            return None


def basis(facts: SubscriptionFacts) -> str:
    """What the amount depends on: it is asked for again when this has changed."""
    planned = facts.scheduled
    parts = (
        facts.price_id,
        facts.quantity,
        facts.discount.id if facts.discount else "",
        int(facts.period_end.timestamp()),
        f"{planned.price_id}*{planned.quantity}" if planned else "",
    )
    return " ".join(map(str, parts))
