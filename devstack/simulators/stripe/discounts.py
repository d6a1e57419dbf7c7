"""Coupons, the codes that customers type, and discounts: a coupon that was given to a subscription or an invoice."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from stripe.params import (
    CouponCreateParams,
    CouponDeleteParams,
    CouponListParams,
    CouponRetrieveParams,
    CouponUpdateParams,
    PromotionCodeCreateParams,
    PromotionCodeListParams,
    PromotionCodeRetrieveParams,
    PromotionCodeUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
    random_text,
)
from devstack.simulators.stripe.errors import invalid, no_such, not_simulated
from devstack.simulators.stripe.operations import Operations
from devstack.simulators.stripe.periods import period_after

OPERATIONS = Operations()


@OPERATIONS.post("/v1/coupons", CouponCreateParams)
def create_coupon(books: Books, params: Params) -> Document:
    not_simulated(params, "applies_to currency_options")
    if ("percent_off" in params) == ("amount_off" in params):
        raise invalid("Specify either percent_off or amount_off.", param="percent_off")
    if "amount_off" in params and "currency" not in params:
        raise invalid("You must pass currency when passing amount_off.", param="currency", code="parameter_missing")
    if books.find("coupon", params.get("id", "")):
        raise invalid("Coupon already exists.", param="id", code="resource_already_exists")
    coupon = {
        "id": params.get("id") or random_text(8),
        "object": "coupon",
        **{name: params.get(name) for name in ("amount_off", "currency", "duration_in_months", "max_redemptions")},
        **{name: params.get(name) for name in ("name", "percent_off", "redeem_by")},
        "created": books.now(),
        "duration": params.get("duration", "once"),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "times_redeemed": 0,
        "valid": True,
        "_deleted": False,
    }
    books.emit("coupon.created", books.keep(coupon))
    return coupon


@OPERATIONS.get("/v1/coupons", CouponListParams)
def list_coupons(books: Books, params: Params) -> Document:
    return books.page("coupon", "/v1/coupons", params, Where("$._deleted", value=False))


@OPERATIONS.get("/v1/coupons/{coupon}", CouponRetrieveParams)
def retrieve_coupon(books: Books, _params: Params, coupon_id: str) -> Document:
    return _live_coupon(books, coupon_id, None)


@OPERATIONS.post("/v1/coupons/{coupon}", CouponUpdateParams)
def update_coupon(books: Books, params: Params, coupon_id: str) -> Document:
    coupon = _live_coupon(books, coupon_id, None)
    previous = apply_changes(coupon, params, "metadata name")
    books.emit("coupon.updated", books.keep(coupon), previous)
    return coupon


@OPERATIONS.delete("/v1/coupons/{coupon}", CouponDeleteParams)
def delete_coupon(books: Books, _params: Params, coupon_id: str) -> Document:
    coupon = _live_coupon(books, coupon_id, None)
    books.emit("coupon.deleted", books.keep({**coupon, "valid": False, "_deleted": True}))
    return {"id": coupon_id, "object": "coupon", "deleted": True}


@OPERATIONS.post("/v1/promotion_codes", PromotionCodeCreateParams)
def create_code(books: Books, params: Params) -> Document:
    coupon = _live_coupon(books, params["promotion"].get("coupon", ""), "promotion[coupon]")
    code = params.get("code") or random_text(8).upper()
    if _active_code(books, code):
        raise invalid(f"An active promotion code with `code: {code}` already exists.", param="code")
    restrictions = params.get("restrictions", {})
    not_simulated(restrictions, "currency_options")
    promotion = {
        "id": new_id("promo"),
        "object": "promotion_code",
        **{name: params.get(name) for name in ("customer", "customer_account", "expires_at", "max_redemptions")},
        "active": params.get("active", True),
        "code": code,
        "created": books.now(),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": {
            "first_time_transaction": restrictions.get("first_time_transaction", False),
            "minimum_amount": restrictions.get("minimum_amount"),
            "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }
    books.emit("promotion_code.created", books.keep(promotion))
    return promotion


@OPERATIONS.get("/v1/promotion_codes", PromotionCodeListParams)
def list_codes(books: Books, params: Params) -> Document:
    chosen = equal(params, "active", "code", "customer")
    if "coupon" in params:
        chosen.append(Where("$.promotion.coupon", params["coupon"]))
    return books.page("promotion_code", "/v1/promotion_codes", params, *chosen)


@OPERATIONS.get("/v1/promotion_codes/{code}", PromotionCodeRetrieveParams)
def retrieve_code(books: Books, _params: Params, code_id: str) -> Document:
    return books.fetch("promotion_code", code_id)


@OPERATIONS.post("/v1/promotion_codes/{code}", PromotionCodeUpdateParams)
def update_code(books: Books, params: Params, code_id: str) -> Document:
    promotion = books.fetch("promotion_code", code_id)
    previous = apply_changes(promotion, params, "active metadata")
    books.emit("promotion_code.updated", books.keep(promotion), previous)
    return promotion


def typed_code(books: Books, text: str, customer_id: str | None) -> Document | None:
    """The promotion code that a customer typed, if it may be used now."""
    promotion = _active_code(books, text.strip())
    if promotion is None or promotion["customer"] not in (None, customer_id):
        return None
    coupon = books.fetch("coupon", promotion["promotion"]["coupon"])
    spent = promotion["max_redemptions"] is not None and promotion["times_redeemed"] >= promotion["max_redemptions"]
    late = promotion["expires_at"] is not None and promotion["expires_at"] <= books.now()
    return None if spent or late or not _redeemable(books, coupon) else promotion


def wanted(books: Books, params: Params) -> list[Document]:
    """The `discounts` of a request: each a coupon or a promotion code, as `{coupon, promotion_code}` ids."""
    chosen = []
    for position, entry in enumerate(params.get("discounts") or []):
        at = f"discounts[{position}]"
        not_simulated(entry, "discount")
        promotion = entry.get("promotion_code")
        coupon = entry.get("coupon")
        if promotion:
            coupon = books.fetch("promotion_code", promotion, f"{at}[promotion_code]")["promotion"]["coupon"]
        if not _redeemable(books, _live_coupon(books, coupon or "", f"{at}[coupon]")):
            raise invalid("This coupon has expired.", param=f"{at}[coupon]", code="coupon_expired")
        chosen.append({"coupon": coupon, "promotion_code": promotion})
    return chosen


def give(
    books: Books, chosen: Sequence[Document], *, customer: str, subscription: str | None, session: str | None = None
) -> list[str]:
    """Turn chosen coupons into discounts, counting the redemption; returns their ids."""
    given = []
    for choice in chosen:
        coupon = books.fetch("coupon", choice["coupon"])
        books.keep({**coupon, "times_redeemed": coupon["times_redeemed"] + 1})
        if choice["promotion_code"]:
            promotion = books.fetch("promotion_code", choice["promotion_code"])
            books.keep({**promotion, "times_redeemed": promotion["times_redeemed"] + 1})
        months = coupon["duration_in_months"] if coupon["duration"] == "repeating" else None
        discount = {
            "id": new_id("di"),
            "object": "discount",
            **nulls("customer_account invoice invoice_item subscription_item"),
            "checkout_session": session,
            "customer": customer,
            "end": period_after(books.now(), books.now(), "month", months) if months else None,
            "promotion_code": choice["promotion_code"],
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": books.now(),
            "subscription": subscription,
        }
        books.emit("customer.discount.created", books.keep(discount))
        given.append(discount["id"])
    return given


def amounts_off(books: Books, coupons: Sequence[str], subtotal: int) -> list[int]:
    """What each coupon takes off, one after the other; never below nothing. Half a cent rounds up, as at Stripe."""
    amounts, left = [], max(subtotal, 0)
    for coupon_id in coupons:
        coupon = books.fetch("coupon", coupon_id)
        if coupon["percent_off"] is not None:
            exact = Decimal(left) * Decimal(str(coupon["percent_off"])) / 100
            amount = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        else:
            amount = min(coupon["amount_off"], left)
        amounts.append(amount)
        left -= amount
    return amounts


def lasting(books: Books, discount_ids: Sequence[str]) -> list[str]:
    """Those that are still on after the invoice they were just used for."""
    found = [books.fetch("discount", discount_id) for discount_id in discount_ids]
    return [one["id"] for one in found if books.fetch("coupon", one["source"]["coupon"])["duration"] != "once"]


def _live_coupon(books: Books, coupon_id: str, param: str | None) -> Document:
    """Not a deleted one: that stays in the books only for those who were given it."""
    coupon = books.fetch("coupon", coupon_id, param)
    if coupon["_deleted"]:
        raise no_such("coupon", coupon_id, param)
    return coupon


def _redeemable(books: Books, coupon: Document) -> bool:
    spent = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    late = coupon["redeem_by"] is not None and coupon["redeem_by"] <= books.now()
    return coupon["valid"] and not spent and not late


def _active_code(books: Books, text: str) -> Document | None:
    """Codes are typed without regard to case."""
    active = books.all("promotion_code", Where("$.active", value=True))
    return next((one for one in active if one["code"].lower() == text.lower()), None)
