"""Promotion codes as Stripe has them: what a customer types, and what it may be used for."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped


class PromotionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A promotion code with its coupon. Amounts are minor units."""

    id: str
    is_active: bool
    expires_at: datetime | None
    is_used_up: bool
    customer_id: str | None
    """The only customer who may use it; None: anyone."""
    is_for_first_purchase: bool
    minimum: int | None
    minimum_currency: str | None
    currency: str | None
    """Of the amount that its coupon takes off; None where that is a percentage."""


class StripePromotions:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def find(self, code: str) -> PromotionFacts | None:
        """The code, whatever its case; the active one where several were made. None: there is none."""
        async with stripe_errors_mapped():
            found = await self._v1.promotion_codes.list_async(
                {"code": code, "limit": 100, "expand": ["data.promotion.coupon"]}
            )
        known = sorted(map(_facts, found.data), key=lambda one: not one.is_active)
        return known[0] if known else None


def _facts(code: Any) -> PromotionFacts:
    coupon, rules = code.promotion.coupon, code.restrictions
    used_up = (one.max_redemptions is not None and one.times_redeemed >= one.max_redemptions for one in (code, coupon))
    ends = [instant for instant in (code.expires_at, coupon.redeem_by) if instant is not None]
    return PromotionFacts(
        id=code.id,
        is_active=code.active and coupon.valid,
        expires_at=datetime.fromtimestamp(min(ends), UTC) if ends else None,
        is_used_up=any(used_up),
        customer_id=code.customer if code.customer is None or isinstance(code.customer, str) else code.customer.id,
        is_for_first_purchase=rules.first_time_transaction,
        minimum=rules.minimum_amount,
        minimum_currency=rules.minimum_amount_currency,
        currency=coupon.currency if coupon.amount_off is not None else None,
    )
