"""Coupons and promotion codes at Stripe, as staff make them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import stripe
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from core.errors import Conflict, FieldError, NotFound, PartnerRefused, Unprocessable
from core.money import Money


class CouponFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str | None
    percent_off: float | None
    amount_off: Money | None
    duration: str
    duration_in_months: int | None
    max_redemptions: int | None
    times_redeemed: int
    redeem_by: datetime | None
    valid: bool
    created: datetime


class CodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    code: str
    coupon_id: str
    active: bool
    max_redemptions: int | None
    times_redeemed: int
    expires_at: datetime | None
    first_purchase: bool
    minimum: Money | None
    customer_id: str | None
    created: datetime


class PromotionBooks:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def coupons(self, after: str | None) -> tuple[list[CouponFacts], bool]:
        """At most 100, the newest first, and whether there are more."""
        async with _refusals_named():
            found = await self._v1.coupons.list_async(_page(after))
        return [_coupon(one) for one in found.data], found.has_more

    async def create_coupon(self, coupon_id: UUID, values: dict[str, Any]) -> CouponFacts:
        """The id is ours, so that it is made once, however long ago it was sent first."""
        async with _refusals_named():
            try:
                wanted: Any = {"id": str(coupon_id), **values}
                return _coupon(await self._v1.coupons.create_async(wanted))
            except stripe.InvalidRequestError as failure:
                if failure.code != "resource_already_exists":
                    raise
                return _coupon(await self._v1.coupons.retrieve_async(str(coupon_id)))

    async def delete_coupon(self, coupon_id: str) -> None:
        async with _refusals_named():
            await self._v1.coupons.delete_async(coupon_id)

    async def codes(self, after: str | None) -> tuple[list[CodeFacts], bool]:
        async with _refusals_named():
            found = await self._v1.promotion_codes.list_async(_page(after))
        return [_code(one) for one in found.data], found.has_more

    async def create_code(self, key: str, values: dict[str, Any]) -> CodeFacts:
        async with _refusals_named():
            return _code(await self._v1.promotion_codes.create_async(values, {"idempotency_key": key}))  # type: ignore[arg-type]  # fields of its own

    async def switch_code(self, code_id: str, *, active: bool) -> CodeFacts:
        async with _refusals_named():
            return _code(await self._v1.promotion_codes.update_async(code_id, {"active": active}))


@asynccontextmanager
async def _refusals_named() -> AsyncIterator[None]:
    """What Stripe refuses because of a field is told with that field."""
    try:
        async with stripe_errors_mapped("Stripe does not answer; try again with the same Idempotency-Key"):
            yield
    except NotFound:
        raise
    except PartnerRefused as refused:
        cause = refused.__cause__
        parameter = (cause.param or "") if isinstance(cause, stripe.InvalidRequestError) else ""
        if parameter == "code":
            fault = FieldError("code", "is that of an active promotion code", "repeated")
            raise Conflict(
                "this code is in use; choose another one, or switch that one off", errors=(fault,)
            ) from cause
        if parameter == "promotion[coupon]":
            fault = FieldError("coupon_id", "is the id of no coupon", "unknown")
            raise Unprocessable("there is no such coupon; list them with GET admin/coupons", errors=(fault,)) from cause
        if parameter:
            fault = FieldError(parameter, "is refused by Stripe", "invalid")
            raise Unprocessable(f"Stripe refuses {parameter}; correct it", errors=(fault,)) from cause
        raise


def _page(after: str | None) -> Any:
    return {"limit": 100, **({"starting_after": after} if after else {})}


def _coupon(one: stripe.Coupon) -> CouponFacts:
    return CouponFacts(
        id=one.id,
        name=one.name,
        percent_off=None if one.percent_off is None else float(one.percent_off),
        amount_off=None if one.amount_off is None else Money(one.amount_off, str(one.currency)),
        duration=one.duration,
        duration_in_months=one.duration_in_months,
        max_redemptions=one.max_redemptions,
        times_redeemed=one.times_redeemed,
        redeem_by=_instant(one.redeem_by),
        valid=one.valid,
        created=datetime.fromtimestamp(one.created, UTC),
    )


def _code(one: stripe.PromotionCode) -> CodeFacts:
    rules, coupon, customer = one.restrictions, one.promotion.coupon, one.customer
    minimum = rules.minimum_amount
    return CodeFacts(
        id=one.id,
        code=one.code,
        coupon_id=coupon if isinstance(coupon, str) else str(coupon and coupon.id),
        active=one.active,
        max_redemptions=one.max_redemptions,
        times_redeemed=one.times_redeemed,
        expires_at=_instant(one.expires_at),
        first_purchase=rules.first_time_transaction,
        minimum=None if minimum is None else Money(minimum, str(rules.minimum_amount_currency)),
        customer_id=customer if customer is None or isinstance(customer, str) else customer.id,
        created=datetime.fromtimestamp(one.created, UTC),
    )


def _instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
