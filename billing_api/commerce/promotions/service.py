"""Promotion use cases: staff make coupons and promotion codes, which Stripe alone keeps. Each act is audited."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from billing_api.access.permissions import Principal
from billing_api.commerce.promotions import repository
from billing_api.commerce.promotions.schemas import (
    Codes,
    CodeView,
    Coupons,
    CouponView,
    CreateCode,
    CreateCoupon,
)
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.promotion_books import CodeFacts, CouponFacts, PromotionBooks
from core.clock import Clock
from core.errors import FieldError, Refusal, Unprocessable
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.unit_of_work import Database


class PromotionService:
    def __init__(self, database: Database, stripe: Stripe, clock: Clock) -> None:
        self._database = database
        self._books = PromotionBooks(stripe.v1)
        self._customers = StripeCustomers(database, stripe)
        self._clock = clock

    async def coupons(self, after: str | None) -> Coupons:
        found, more = await self._books.coupons(after)
        return Coupons([_coupon(one) for one in found], more)

    async def create_coupon(self, principal: Principal, wanted: CreateCoupon, once: Once) -> Replayable[CouponView]:
        _judge_coupon(wanted, self._clock())
        coupon_id = _own_id(principal, "coupon", once)
        async with self._database.as_staff(principal.user_id) as tx:
            if stored := await once.claim(tx, CouponView):
                return stored
        async with self._key_released_on_refusal(principal, once):
            made = await self._books.create_coupon(coupon_id, _coupon_values(wanted))
        async with self._database.as_staff(principal.user_id) as tx:
            await tx.audit("coupon.created", "coupon", made.id, name=made.name)
            return await once.record(tx, _coupon(made))

    async def delete_coupon(self, principal: Principal, coupon_id: str) -> None:
        """A subscription that has it keeps it; nobody gets it any more."""
        await self._books.delete_coupon(coupon_id)
        async with self._database.as_staff(principal.user_id) as tx:
            await tx.audit("coupon.deleted", "coupon", coupon_id)

    async def codes(self, principal: Principal, after: str | None) -> Codes:
        found, more = await self._books.codes(after)
        return Codes(await self._shown(principal, found), more)

    async def create_code(self, principal: Principal, wanted: CreateCode, once: Once) -> Replayable[CodeView]:
        _expect_future("expires_at", wanted.expires_at, self._clock())
        key = f"promotion-code-{_own_id(principal, 'code', once)}"
        async with self._database.as_staff(principal.user_id) as tx:
            if stored := await once.claim(tx, CodeView):
                return stored
            owner = await repository.customer(tx, wanted.user_id) if wanted.user_id else None
        async with self._key_released_on_refusal(principal, once):
            if owner is None:
                made = await self._books.create_code(key, _code_values(wanted, None))
            else:
                made = await self._customers.use(
                    owner, lambda customer_id, _: self._books.create_code(key, _code_values(wanted, customer_id))
                )
        [view] = await self._shown(principal, [made])
        async with self._database.as_staff(principal.user_id) as tx:
            await tx.audit("promotion_code.created", "promotion_code", made.id, code=made.code, coupon=made.coupon_id)
            return await once.record(tx, view)

    async def switch_code(self, principal: Principal, code_id: str, *, active: bool) -> CodeView:
        made = await self._books.switch_code(code_id, active=active)
        async with self._database.as_staff(principal.user_id) as tx:
            await tx.audit("promotion_code.switched", "promotion_code", code_id, active=active)
        [view] = await self._shown(principal, [made])
        return view

    async def _shown(self, principal: Principal, found: Sequence[CodeFacts]) -> list[CodeView]:
        owners = {one.customer_id for one in found if one.customer_id is not None}
        async with self._database.as_staff(principal.user_id) as tx:
            users = await repository.users_of(tx, owners) if owners else {}
        return [_code(one, users.get(one.customer_id or "")) for one in found]

    @asynccontextmanager
    async def _key_released_on_refusal(self, principal: Principal, once: Once) -> AsyncIterator[None]:
        try:
            yield
        except Refusal:
            async with self._database.as_system(principal.user_id) as system:
                await once.give_back(system)
            raise


def _own_id(principal: Principal, kind: str, once: Once) -> UUID:
    """The same for every request with one Idempotency-Key."""
    if once.key is None:
        return new_id()
    return uuid5(NAMESPACE_URL, f"urn:nextpanel:{kind}:{principal.user_id}:{once.key}")


def _judge_coupon(wanted: CreateCoupon, now: datetime) -> None:
    if (wanted.percent_off is None) == (wanted.amount_off is None):
        raise _wrong("percent_off", "or amount_off must be given, and not both")
    if (wanted.duration == "repeating") != (wanted.duration_in_months is not None):
        raise _wrong("duration_in_months", "must be given where duration is repeating, and only there")
    _expect_future("redeem_by", wanted.redeem_by, now)


def _expect_future(field: str, instant: datetime | None, now: datetime) -> None:
    if instant is not None and instant <= now:
        raise _wrong(field, "must be in the future")


def _wrong(field: str, told: str) -> Unprocessable:
    return Unprocessable(f"{field} {told}", errors=(FieldError(field, told, "invalid"),))


def _coupon_values(wanted: CreateCoupon) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": wanted.name,
        "duration": wanted.duration,
        "percent_off": wanted.percent_off,
        "amount_off": wanted.amount_off and wanted.amount_off.amount,
        "currency": wanted.amount_off and wanted.amount_off.currency,
        "duration_in_months": wanted.duration_in_months,
        "max_redemptions": wanted.max_redemptions,
        "redeem_by": wanted.redeem_by and int(wanted.redeem_by.timestamp()),
    }
    return {name: value for name, value in values.items() if value is not None}


def _code_values(wanted: CreateCode, customer_id: str | None) -> dict[str, Any]:
    restrictions: dict[str, Any] = {"first_time_transaction": wanted.first_purchase}
    if wanted.minimum is not None:
        restrictions |= {
            "minimum_amount": wanted.minimum.amount,
            "minimum_amount_currency": wanted.minimum.currency,
        }
    values: dict[str, Any] = {
        "promotion": {"type": "coupon", "coupon": wanted.coupon_id},
        "code": wanted.code,
        "customer": customer_id,
        "max_redemptions": wanted.max_redemptions,
        "expires_at": wanted.expires_at and int(wanted.expires_at.timestamp()),
        "restrictions": restrictions,
    }
    return {name: value for name, value in values.items() if value is not None}


def _coupon(one: CouponFacts) -> CouponView:
    return CouponView(
        id=one.id,
        name=one.name,
        percent_off=one.percent_off,
        amount_off=one.amount_off,
        duration=one.duration,  # type: ignore[arg-type]  # Stripe's three words
        duration_in_months=one.duration_in_months,
        max_redemptions=one.max_redemptions,
        times_redeemed=one.times_redeemed,
        redeem_by=one.redeem_by,
        is_valid=one.valid,
        created_at=one.created,
    )


def _code(one: CodeFacts, user_id: UUID | None) -> CodeView:
    return CodeView(
        id=one.id,
        code=one.code,
        coupon_id=one.coupon_id,
        is_active=one.active,
        max_redemptions=one.max_redemptions,
        times_redeemed=one.times_redeemed,
        expires_at=one.expires_at,
        first_purchase=one.first_purchase,
        minimum=one.minimum,
        user_id=user_id,
        created_at=one.created,
    )
