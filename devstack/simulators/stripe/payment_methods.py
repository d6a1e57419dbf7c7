"""Payment methods. Only cards: `pm_card_…` names and typed numbers become methods of their own, as at Stripe."""

from datetime import UTC, datetime
from typing import Any

from stripe.params import (
    PaymentMethodAttachParams,
    PaymentMethodCreateParams,
    PaymentMethodDetachParams,
    PaymentMethodListParams,
    PaymentMethodRetrieveParams,
    PaymentMethodUpdateParams,
)

from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    an_address,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
    public,
)
from devstack.simulators.stripe.cards import CARDS, TOKENS, Card, CardForm, Decline
from devstack.simulators.stripe.errors import Refused, invalid, no_such
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
READY_MADE = "pm_card_"
TOKEN = "tok_"  # a prefix, no secret
_FAR_YEARS = 8


def today(books: Books) -> datetime:
    return datetime.fromtimestamp(books.now(), UTC)


def make(books: Books, form: CardForm, billing: Params | None = None, metadata: Params | None = None) -> Document:
    """A card payment method that belongs to nobody yet."""
    card = CARDS[form.number]
    address = an_address((billing or {}).get("address") or None)
    details = {**nulls("email name phone tax_id"), **(billing or {}), "address": address}
    return books.keep(
        {
            "id": new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": details,
            "card": _card_details(form, card),
            "created": books.now(),
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": merge_metadata({}, metadata or {}),
            "type": "card",
            "_number": form.number,
            "_set_up": False,
        }
    )


def _card_details(form: CardForm, card: Card) -> Document:
    return {
        "brand": card.brand,
        "checks": {
            **nulls("address_line1_check address_postal_code_check"),
            "cvc_check": None if form.cvc is None else "pass",
        },
        "country": "US",
        "display_brand": card.brand,
        "exp_month": form.month,
        "exp_year": form.year,
        "fingerprint": f"test{form.number[-12:]}",
        "funding": card.funding,
        "generated_from": None,
        "last4": form.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def usable(books: Books, reference: str, param: str = "payment_method") -> Document:
    """The method that a request names; a ready-made one becomes a new method."""
    if reference.startswith(READY_MADE):
        return _ready_made(books, reference, reference.removeprefix(READY_MADE), param)
    return books.fetch("payment_method", reference, param)


def of_customer(books: Books, method_id: str, customer_id: str) -> Document:
    method = books.fetch("payment_method", method_id, "payment_method")
    if method["customer"] != customer_id:
        raise invalid(
            "The payment method must be attached to the customer before it can be used.",
            param="payment_method",
            code="resource_missing",
        )
    return method


def card_of(method: Document) -> Card:
    return CARDS[method["_number"]]


def attach(books: Books, method: Document, customer_id: str) -> Document:
    """Refused by the cards that refuse everything; a method stays with its first customer."""
    if method["customer"] == customer_id:
        return method
    if method["customer"]:
        raise invalid("The payment method you provided has already been attached to a customer.")
    decline = card_of(method).attach
    if decline:
        raise declined(decline)
    method["customer"] = customer_id
    books.emit("payment_method.attached", books.keep(method))
    return method


def declined(decline: Decline, *, keeps_effects: bool = False, **members: Any) -> Refused:
    return Refused(
        402,
        decline.message,
        keeps_effects=keeps_effects,
        type="card_error",
        code=decline.code,
        decline_code=decline.decline_code,
        param={"incorrect_cvc": "cvc", "expired_card": "exp_month"}.get(decline.code),
        advice_code=decline.advice,
        **members,
    )


@OPERATIONS.post("/v1/payment_methods", PaymentMethodCreateParams)
def create(books: Books, params: Params) -> Document:
    if params.get("type") != "card":
        raise invalid("Only the payment method type card is simulated.", param="type")
    card = params.get("card", {})
    billing = params.get("billing_details")
    if "token" in card:
        method = _ready_made(books, card["token"], card["token"].removeprefix(TOKEN), "card[token]")
        method["billing_details"] |= billing or {}
        return books.keep(method)
    missing = [name for name in ("number", "exp_month", "exp_year") if name not in card]
    if missing:
        raise invalid(
            f"Missing required param: card[{missing[0]}].", param=f"card[{missing[0]}]", code="parameter_missing"
        )
    form = CardForm.checked(card["number"], card["exp_month"], card["exp_year"], card.get("cvc"), today(books))
    return make(books, form, billing, params.get("metadata"))


@OPERATIONS.get("/v1/payment_methods", PaymentMethodListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("payment_method", "/v1/payment_methods", params, *equal(params, "customer", "type"))


@OPERATIONS.get("/v1/payment_methods/{method}", PaymentMethodRetrieveParams)
def retrieve(books: Books, _params: Params, method_id: str) -> Document:
    return books.fetch("payment_method", method_id)


@OPERATIONS.post("/v1/payment_methods/{method}", PaymentMethodUpdateParams)
def update(books: Books, params: Params, method_id: str) -> Document:
    method = books.fetch("payment_method", method_id)
    previous = apply_changes(method, params, "metadata allow_redisplay")
    previous |= apply_changes(method["card"], params.get("card", {}), "exp_month exp_year")
    method["billing_details"] |= params.get("billing_details", {})
    books.keep(method)
    if method["customer"]:
        books.emit("payment_method.updated", method, previous)
    return method


@OPERATIONS.post("/v1/payment_methods/{method}/attach", PaymentMethodAttachParams)
def attach_to(books: Books, params: Params, method_id: str) -> Document:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = books.fetch("customer", params["customer"], "customer")
    method = usable(books, method_id) if method_id.startswith(READY_MADE) else books.fetch("payment_method", method_id)
    return attach(books, method, customer["id"])


@OPERATIONS.post("/v1/payment_methods/{method}/detach", PaymentMethodDetachParams)
def detach(books: Books, _params: Params, method_id: str) -> Document:
    method = books.fetch("payment_method", method_id)
    owner = books.find("customer", method["customer"] or "")
    if owner is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment is impossible.")
    if not owner.get("deleted") and owner["invoice_settings"]["default_payment_method"] == method_id:
        owner["invoice_settings"]["default_payment_method"] = None
        books.keep(owner)
    method["customer"] = None
    books.emit("payment_method.detached", books.keep(method), {"customer": owner["id"]})
    return method


def shown(method: Document | None) -> Document | None:
    """As errors carry it: the whole object."""
    return public(method) if method else None


def _ready_made(books: Books, reference: str, name: str, param: str) -> Document:
    if name not in TOKENS:
        raise no_such("payment_method", reference, param)
    now = today(books)
    return make(books, CardForm(TOKENS[name], now.month, now.year + _FAR_YEARS, None))
