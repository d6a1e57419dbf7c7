"""Checkout sessions as the API shows them: what is for sale on one hosted page, until it is paid or expires."""

from collections.abc import Sequence
from typing import Any, Final

from stripe.params.checkout import (
    SessionCreateParams,
    SessionExpireParams,
    SessionLineItemListParams,
    SessionListParams,
    SessionRetrieveParams,
    SessionUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import catalogue, discounts, promotion_codes, tax
from devstack.simulators.stripe.amounts import expect_chargeable
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
)
from devstack.simulators.stripe.currencies import purchase_currency, unit_amount
from devstack.simulators.stripe.errors import invalid, no_such, not_simulated, wrong_state
from devstack.simulators.stripe.expansion import session_line_items
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
LIFETIME: Final = 24 * 3600
_SHORTEST, _LONGEST = 30 * 60, 24 * 3600
_NOT_SIMULATED: Final = (
    "after_expiration custom_fields invoice_creation optional_items shipping_address_collection shipping_options"
    " setup_intent_data tax_id_collection payment_method_data customer_account"
)
_SHOWN_AS_GIVEN: Final = (
    "allow_promotion_codes allowed_payment_method_types billing_address_collection cancel_url client_reference_id"
    " customer_email locale submit_type success_url"
)


@OPERATIONS.post("/v1/checkout/sessions", SessionCreateParams)
def create(books: Books, params: Params) -> Document:
    mode = params.get("mode")
    if mode not in ("payment", "subscription"):
        raise invalid("This simulator's checkout has the modes payment and subscription.", param="mode")
    _check(books, params, mode)
    items = [_line_item(books, item, position, mode) for position, item in enumerate(params.get("line_items", []))]
    if not items or (mode == "subscription" and not any(item["price"]["recurring"] for item in items)):
        raise invalid(f"In `{mode}` mode, line_items need a price of that kind.", param="line_items")
    currency = _price_items(books, items, params)
    session_id = new_id("cs_test", 58)
    session = {
        "id": session_id,
        "object": "checkout.session",
        **_blank(),
        "automatic_tax": _automatic_tax(params),
        "created": books.now(),
        "currency": currency,
        "customer": params.get("customer"),
        "customer_creation": _customer_creation(params, mode),
        "expires_at": params.get("expires_at", books.now() + LIFETIME),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "mode": mode,
        "payment_method_collection": "always" if mode == "subscription" else "if_required",
        "url": f"{books.public_url}/c/pay/{session_id}",
        "_line_items": items,
        "_data": params.get("subscription_data" if mode == "subscription" else "payment_intent_data", {}),
    }
    apply_changes(session, params, _SHOWN_AS_GIVEN)
    reprice(books, session, [])
    if params.get("discounts"):
        reprice(books, session, promotion_codes.wanted(books, params, bought(session)))
    expect_payable(session)
    return books.keep(session)


def _blank() -> Document:
    """What no session of ours uses, and what none has before it is paid."""
    return {
        **nulls("adaptive_pricing after_expiration allow_promotion_codes allowed_payment_method_types"),
        **nulls(
            "billing_address_collection cancel_url client_reference_id client_secret collected_information consent"
        ),
        **nulls("consent_collection currency_conversion customer_account customer_details customer_email discounts"),
        **nulls("integration_identifier invoice invoice_creation locale managed_payments origin_context"),
        **nulls("payment_intent payment_link payment_method_configuration_details permissions recovered_from"),
        **nulls("saved_payment_method_options setup_intent shipping_address_collection shipping_cost submit_type"),
        **nulls("subscription success_url wallet_options"),
        "custom_fields": [],
        "custom_text": nulls("after_submit shipping_address submit terms_of_service_acceptance"),
        "livemode": False,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "ui_mode": "hosted_page",
    }


def _check(books: Books, params: Params, mode: str) -> None:
    not_simulated(params, _NOT_SIMULATED)
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("Only the hosted page is simulated.", param="ui_mode")
    if "success_url" not in params:
        raise invalid("Missing required param: success_url.", param="success_url", code="parameter_missing")
    other = "payment_intent_data" if mode == "subscription" else "subscription_data"
    if params.get(other):
        raise invalid(f"You can not pass `{other}` in `{mode}` mode.", param=other)
    if "customer" in params:
        books.fetch("customer", params["customer"], "customer")
        if "customer_email" in params:
            raise invalid("You may only specify one of these parameters: customer, customer_email.", "customer")
    if params.get("discounts") and "allow_promotion_codes" in params:
        raise invalid("You may only specify one of these parameters: allow_promotion_codes, discounts.", "discounts")
    ahead = params.get("expires_at", books.now() + LIFETIME) - books.now()
    if not _SHORTEST <= ahead <= _LONGEST:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours ahead.", "expires_at"
        )
    _expect_address(books, params)
    not_simulated(
        params.get("subscription_data", {}),
        "application_fee_percent billing_cycle_anchor billing_cycle_anchor_config default_tax_rates on_behalf_of"
        " pending_invoice_item_interval transfer_data",
    )


def _price_items(books: Books, items: list[Document], params: Params) -> str:
    """Write what each item costs in the currency of the purchase, which is returned."""
    customer = books.fetch("customer", params["customer"], "customer") if "customer" in params else None
    prices = [item["price"] for item in items]
    currency = purchase_currency(books, prices, params.get("currency"), customer, "line_items[0][price]")
    for item in items:
        amount = unit_amount(books, item["price"], currency) * item["quantity"]
        item |= {"amount_subtotal": amount, "amount_total": amount, "currency": currency}
    return currency


def _automatic_tax(params: Params) -> Document:
    if not tax.wanted(params):
        return {**nulls("liability provider status"), "enabled": False}
    return {"enabled": True, "liability": {"type": "self"}, "provider": "stripe", "status": None}


def _expect_address(books: Books, params: Params) -> None:
    """Tax needs an address: the customer has one, or is asked for it on the page."""
    if not tax.wanted(params) or "customer" not in params:
        return
    asked = params.get("customer_update", {}).get("address") == "auto"
    if not asked and tax.rate_for(books, books.fetch("customer", params["customer"], "customer")) is None:
        raise invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the"
            " Customer or set `customer_update[address]` to 'auto'.",
            code="customer_tax_location_invalid",
        )


def _customer_creation(params: Params, mode: str) -> str | None:
    if "customer" in params:
        return None
    return "always" if mode == "subscription" else params.get("customer_creation", "if_required")


def _line_item(books: Books, item: Params, position: int, mode: str) -> Document:
    at = f"line_items[{position}]"
    not_simulated(item, "tax_rates adjustable_quantity")
    price = catalogue.chosen_price(books, item, at)
    if price["recurring"] and mode == "payment":
        raise invalid(
            "You specified `payment` mode but passed a recurring price. "
            "Either switch to `subscription` mode or use only one-time prices.",
            param=f"{at}[price]",
        )
    if "quantity" not in item:
        raise invalid(f"Missing required param: {at}[quantity].", f"{at}[quantity]", "parameter_missing")
    return {
        "id": new_id("li"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_tax": 0,
        "description": books.fetch("product", price["product"]).get("name"),
        "metadata": merge_metadata({}, item.get("metadata", {})),
        "price": price,
        "quantity": item["quantity"],
    }


def reprice(books: Books, session: Document, coupons: list[Document]) -> None:
    """What is due today: nothing recurring during a trial, less what the coupons take off."""
    due = [item for item in session["_line_items"] if not (trial_end(books, session) and item["price"]["recurring"])]
    subtotal = sum(item["amount_subtotal"] for item in due)
    taken = discounts.reductions(books, [one["coupon"] for one in coupons], [item["amount_subtotal"] for item in due])
    off = sum(sum(parts) for parts in taken)
    reduced = [sum(parts[position] for parts in taken) for position in range(len(due))]
    taxes = _tax(books, session, [item["amount_subtotal"] - less for item, less in zip(due, reduced, strict=True)])
    session |= {
        "amount_subtotal": subtotal,
        "amount_total": subtotal - off + taxes,
        "discounts": coupons,
        "total_details": {"amount_discount": off, "amount_shipping": 0, "amount_tax": taxes},
    }


def _tax(books: Books, session: Document, amounts: Sequence[int]) -> int:
    """The tax on the amounts, as far as the customer's address is known by now."""
    if not session["automatic_tax"]["enabled"]:
        return 0
    customer = books.find("customer", session["customer"] or session.get("_customer") or "")
    rate = tax.rate_for(books, customer) if customer else None
    session["automatic_tax"]["status"] = "complete" if rate else "requires_location_inputs"
    return sum(tax.amount_of(amount, rate) for amount in amounts) if rate else 0


def expect_payable(session: Document) -> None:
    """Refuses an amount that is not nothing and too little for a card."""
    if session["amount_total"]:
        expect_chargeable(session["amount_total"], session["currency"], "line_items")


def bought(session: Document) -> discounts.Purchase:
    amount = sum(item["amount_subtotal"] for item in session["_line_items"])
    return discounts.Purchase(session["customer"], amount, session["currency"])


def trial_end(books: Books, session: Document) -> int | None:
    data = session["_data"]
    if "trial_end" in data:
        return int(data["trial_end"])
    days = data.get("trial_period_days")
    return books.now() + int(days) * 24 * 3600 if days else None


@OPERATIONS.get("/v1/checkout/sessions", SessionListParams)
def list_all(books: Books, params: Params) -> Document:
    chosen = equal(params, "customer", "payment_intent", "status", "subscription")
    if "customer_details" in params:
        chosen.append(Where("$.customer_details.email", params["customer_details"]["email"]))
    return books.page("checkout.session", "/v1/checkout/sessions", params, *chosen)


@OPERATIONS.get("/v1/checkout/sessions/{session}", SessionRetrieveParams)
def retrieve(books: Books, _params: Params, session_id: str) -> Document:
    return current(books, session_id)


@OPERATIONS.post("/v1/checkout/sessions/{session}", SessionUpdateParams)
def update(books: Books, params: Params, session_id: str) -> Document:
    not_simulated(params, "collected_information line_items payment_intent_data shipping_options")
    session = current(books, session_id)
    apply_changes(session, params, "metadata")
    return books.keep(session)


@OPERATIONS.get("/v1/checkout/sessions/{session}/line_items", SessionLineItemListParams)
def list_line_items(books: Books, _params: Params, session_id: str) -> Document:
    return session_line_items(current(books, session_id))


@OPERATIONS.post("/v1/checkout/sessions/{session}/expire", SessionExpireParams)
def expire(books: Books, _params: Params, session_id: str) -> Document:
    session = current(books, session_id)
    if session["status"] != "open":
        raise wrong_state(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"{session['status']}.",
            "checkout_session_not_open",
        )
    return close(books, session)


def current(books: Books, session_id: str) -> Document:
    """The session as it is by now: one whose time has passed is found expired."""
    session = books.find("checkout.session", session_id)
    if session is None:
        raise no_such("checkout.session", session_id, None)
    if session["status"] == "open" and session["expires_at"] <= books.now():
        close(books, session)
    return session


def close(books: Books, session: Document) -> Document:
    session |= {"status": "expired", "url": None}
    books.emit("checkout.session.expired", books.keep(session))
    return session


def return_address(session: Document, field: str = "success_url") -> str:
    address: Any = session[field]
    return str(address).replace("{CHECKOUT_SESSION_ID}", session["id"])
