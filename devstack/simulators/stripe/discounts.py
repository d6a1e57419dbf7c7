"""Coupons, and discounts: a coupon that was given to a subscription or an invoice, and for how long it counts."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from stripe.params import (
    CouponCreateParams,
    CouponDeleteParams,
    CouponListParams,
    CouponRetrieveParams,
    CouponUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe.amounts import spread
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
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
    return live_coupon(books, coupon_id, None)


@OPERATIONS.post("/v1/coupons/{coupon}", CouponUpdateParams)
def update_coupon(books: Books, params: Params, coupon_id: str) -> Document:
    coupon = live_coupon(books, coupon_id, None)
    previous = apply_changes(coupon, params, "metadata name")
    books.emit("coupon.updated", books.keep(coupon), previous)
    return coupon


@OPERATIONS.delete("/v1/coupons/{coupon}", CouponDeleteParams)
def delete_coupon(books: Books, _params: Params, coupon_id: str) -> Document:
    coupon = live_coupon(books, coupon_id, None)
    books.emit("coupon.deleted", books.keep({**coupon, "valid": False, "_deleted": True}))
    return {"id": coupon_id, "object": "coupon", "deleted": True}


class Purchase(NamedTuple):
    """What a coupon is to be used for, as far as its rules and those of a promotion code look at it."""

    customer_id: str | None
    amount: int
    """Before any discount."""
    currency: str


def refused_coupon(books: Books, coupon: Document, purchase: Purchase, param: str | None) -> None:
    """Refused where the coupon is used up, late, or in another currency."""
    if not _redeemable(books, coupon):
        raise invalid("This coupon has expired.", param=param, code="coupon_expired")
    if coupon["amount_off"] is not None and coupon["currency"] != purchase.currency:
        raise invalid(
            f"The coupon's currency is {coupon['currency']}, and the purchase is in {purchase.currency}.", param=param
        )


def give(
    books: Books,
    chosen: Sequence[Document],
    *,
    customer: str,
    subscription: str | None,
    session: str | None = None,
    since: int | None = None,
) -> list[str]:
    """Turn chosen coupons into discounts, counting the redemption; returns their ids.

    `since`: when the months of a repeating one begin, if not now; a trial uses none of them up.
    """
    start = books.now() if since is None else since
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
            "end": period_after(start, start, "month", months) if months else None,
            "promotion_code": choice["promotion_code"],
            "source": {"coupon": coupon["id"], "type": "coupon"},
            "start": books.now(),
            "subscription": subscription,
        }
        books.emit("customer.discount.created", books.keep(discount))
        given.append(discount["id"])
    return given


def reductions(books: Books, coupons: Sequence[str], amounts: Sequence[int]) -> list[list[int]]:
    """What each coupon takes off each of the amounts, one coupon after the other; never below nothing.

    Half a cent of a percentage rounds up, as at Stripe. The sum is spread over the amounts.
    """
    left = [max(amount, 0) for amount in amounts]
    taken = []
    for coupon_id in coupons:
        coupon = books.fetch("coupon", coupon_id)
        if coupon["percent_off"] is not None:
            exact = Decimal(sum(left)) * Decimal(str(coupon["percent_off"])) / 100
            amount = int(exact.quantize(Decimal(1), ROUND_HALF_UP))
        else:
            amount = min(coupon["amount_off"], sum(left))
        parts = spread(amount, left)
        taken.append(parts)
        left = [before - part for before, part in zip(left, parts, strict=True)]
    return taken


def coupons_of(books: Books, discount_ids: Sequence[str]) -> list[str]:
    return [books.fetch("discount", discount_id)["source"]["coupon"] for discount_id in discount_ids]


def for_period(books: Books, subscription: Document, start: int) -> list[str]:
    """The subscription's discounts for a period that begins at `start`: a repeating one may have ended before."""
    found = [books.fetch("discount", discount_id) for discount_id in subscription["discounts"]]
    return [one["id"] for one in found if one["end"] is None or start < one["end"]]


def lasting(books: Books, subscription: Document, start: int) -> list[str]:
    """Its discounts for the time that began at `start`, without those for one invoice alone."""
    return [discount_id for discount_id in for_period(books, subscription, start) if not _once(books, discount_id)]


def after_invoice(books: Books, subscription: Document, invoice: Document, start: int) -> None:
    """Take off what is used up: a coupon for one invoice that reduced it, and one whose months are over."""
    running = set(for_period(books, subscription, start))
    used = (
        {discount_id for discount_id in invoice["discounts"] if _once(books, discount_id)}
        if invoice["subtotal"]
        else set()
    )
    for discount_id in subscription["discounts"]:
        if discount_id in used or discount_id not in running:
            books.emit("customer.discount.deleted", books.fetch("discount", discount_id))
    subscription["discounts"] = [one for one in subscription["discounts"] if one in running - used]


def _once(books: Books, discount_id: str) -> bool:
    (coupon_id,) = coupons_of(books, [discount_id])
    return bool(books.fetch("coupon", coupon_id)["duration"] == "once")


def live_coupon(books: Books, coupon_id: str, param: str | None) -> Document:
    """Not a deleted one: that stays in the books only for those who were given it."""
    coupon = books.fetch("coupon", coupon_id, param)
    if coupon["_deleted"]:
        raise no_such("coupon", coupon_id, param)
    return coupon


def _redeemable(books: Books, coupon: Document) -> bool:
    spent = coupon["max_redemptions"] is not None and coupon["times_redeemed"] >= coupon["max_redemptions"]
    late = coupon["redeem_by"] is not None and coupon["redeem_by"] <= books.now()
    return coupon["valid"] and not spent and not late
