"""Promotion codes: what customers type to have a coupon, and who may use one."""

from stripe.params import (
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
    random_text,
)
from devstack.simulators.stripe.discounts import Purchase, live_coupon, refused_coupon
from devstack.simulators.stripe.errors import Refused, invalid, not_simulated
from devstack.simulators.stripe.lines import money
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()


@OPERATIONS.post("/v1/promotion_codes", PromotionCodeCreateParams)
def create_code(books: Books, params: Params) -> Document:
    coupon = live_coupon(books, params["promotion"].get("coupon", ""), "promotion[coupon]")
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
    chosen = equal(params, "active", "customer")
    if "code" in params:  # whatever its case; a code has letters and digits alone
        chosen.append(Where("$.code", params["code"], "LIKE" if params["code"].isalnum() else "="))
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


def wanted(books: Books, params: Params, purchase: Purchase) -> list[Document]:
    """The `discounts` of a request: each a coupon or a promotion code, as `{coupon, promotion_code}` ids."""
    chosen = []
    for position, entry in enumerate(params.get("discounts") or []):
        at = f"discounts[{position}]"
        not_simulated(entry, "discount")
        code = entry.get("promotion_code")
        if code:
            promotion = books.fetch("promotion_code", code, f"{at}[promotion_code]")
            check(books, promotion, purchase, f"{at}[promotion_code]")
            chosen.append({"coupon": promotion["promotion"]["coupon"], "promotion_code": code})
        else:
            coupon = live_coupon(books, entry.get("coupon") or "", f"{at}[coupon]")
            refused_coupon(books, coupon, purchase, f"{at}[coupon]")
            chosen.append({"coupon": coupon["id"], "promotion_code": None})
    return chosen


def typed_code(books: Books, text: str, purchase: Purchase) -> Document:
    """The promotion code that a customer typed; Refused, with what the page shows, where it may not be used now."""
    promotion = _active_code(books, text.strip())
    if promotion is None:
        raise Refused(400, "This code is invalid.")
    check(books, promotion, purchase, None)
    return promotion


def check(books: Books, promotion: Document, purchase: Purchase, param: str | None) -> None:
    """Refused where this purchase may not use the code, or its coupon."""
    if not promotion["active"] or _used_up(promotion) or _late(books, promotion):
        raise invalid("This promotion code has expired or was used up.", param)
    if promotion["customer"] not in (None, purchase.customer_id):
        raise invalid("This promotion code belongs to another customer.", param)
    restrictions = promotion["restrictions"]
    if restrictions["first_time_transaction"] and _has_paid(books, purchase.customer_id):
        raise invalid(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.", param
        )
    least, currency = restrictions["minimum_amount"], restrictions["minimum_amount_currency"]
    if least is not None and (currency != purchase.currency or purchase.amount < least):
        raise invalid(f"This promotion code needs a purchase of at least {money(least, currency)}.", param)
    refused_coupon(books, books.fetch("coupon", promotion["promotion"]["coupon"]), purchase, param)


def _used_up(promotion: Document) -> bool:
    most: int | None = promotion["max_redemptions"]
    return most is not None and bool(promotion["times_redeemed"] >= most)


def _late(books: Books, promotion: Document) -> bool:
    return promotion["expires_at"] is not None and bool(promotion["expires_at"] <= books.now())


def _has_paid(books: Books, customer_id: str | None) -> bool:
    if customer_id is None:
        return False
    return any(charge["paid"] for charge in books.all("charge", Where("$.customer", customer_id)))


def _active_code(books: Books, text: str) -> Document | None:
    """Codes are typed without regard to case."""
    active = books.all("promotion_code", Where("$.active", value=True))
    return next((one for one in active if one["code"].lower() == text.lower()), None)
