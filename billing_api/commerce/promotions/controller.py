"""Promotion routes for staff: coupons and promotion codes."""

from typing import Annotated

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.promotions.schemas import (
    Codes,
    CodeView,
    Coupons,
    CouponView,
    CreateCode,
    CreateCoupon,
    SwitchCode,
)
from billing_api.commerce.promotions.service import PromotionService
from billing_api.web.parameters import reply
from billing_api.web.problems import documented
from core.errors import IdempotencyMismatch, Unprocessable
from db.idempotency import Once

_AFTER = QueryParameter(description="The id after which the list goes on.", min_length=1, max_length=64)


class AdminCouponController(Controller):
    path = "/admin/coupons"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def list_coupons(
        self, promotions: NamedDependency[PromotionService], after: Annotated[str | None, _AFTER] = None
    ) -> Coupons:
        """List the coupons.

        As Stripe has them now.
        """
        return await promotions.coupons(after)

    @post("/", permission=Permission.BILLING_CHANGE, responses={422: documented(Unprocessable, IdempotencyMismatch)})
    async def create_coupon(
        self,
        principal: NamedDependency[Principal],
        promotions: NamedDependency[PromotionService],
        once: NamedDependency[Once],
        data: JSONBody[CreateCoupon],
    ) -> Response[CouponView]:
        """Create a coupon.

        Customers use it by a promotion code of it. It cannot be edited.
        """
        return reply(await promotions.create_coupon(principal, data, once), status_code=201)

    @delete("/{coupon_id:str}", permission=Permission.BILLING_CHANGE)
    async def delete_coupon(
        self,
        principal: NamedDependency[Principal],
        promotions: NamedDependency[PromotionService],
        coupon_id: FromPath[str],
    ) -> None:
        """Delete a coupon.

        Subscriptions that have it keep it. Its promotion codes can be used no more.
        """
        await promotions.delete_coupon(principal, coupon_id)


class AdminPromotionCodeController(Controller):
    path = "/admin/promotion-codes"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def list_promotion_codes(
        self,
        principal: NamedDependency[Principal],
        promotions: NamedDependency[PromotionService],
        after: Annotated[str | None, _AFTER] = None,
    ) -> Codes:
        """List the promotion codes.

        As Stripe has them now.
        """
        return await promotions.codes(principal, after)

    @post("/", permission=Permission.BILLING_CHANGE, responses={422: documented(Unprocessable, IdempotencyMismatch)})
    async def create_promotion_code(
        self,
        principal: NamedDependency[Principal],
        promotions: NamedDependency[PromotionService],
        once: NamedDependency[Once],
        data: JSONBody[CreateCode],
    ) -> Response[CodeView]:
        """Create a promotion code.

        Customers send it with `checkout/sessions`, or type it on Stripe's page.
        """
        return reply(await promotions.create_code(principal, data, once), status_code=201)

    @patch("/{promotion_code_id:str}", permission=Permission.BILLING_CHANGE)
    async def switch_promotion_code(
        self,
        principal: NamedDependency[Principal],
        promotions: NamedDependency[PromotionService],
        promotion_code_id: FromPath[str],
        data: JSONBody[SwitchCode],
    ) -> CodeView:
        """Switch a promotion code on or off.

        Nothing else of it can be changed.
        """
        return await promotions.switch_code(principal, promotion_code_id, active=data.is_active)
