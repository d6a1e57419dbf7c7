"""Setup intents: a card is kept for later without taking money from it."""

from stripe.params import (
    SetupIntentCancelParams,
    SetupIntentConfirmParams,
    SetupIntentCreateParams,
    SetupIntentListParams,
    SetupIntentRetrieveParams,
    SetupIntentUpdateParams,
)

from devstack.simulators.stripe import payment_methods
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
    public,
    random_text,
)
from devstack.simulators.stripe.errors import invalid, not_simulated
from devstack.simulators.stripe.operations import Operations
from devstack.simulators.stripe.payments import CONFIRMABLE, expect_status

OPERATIONS = Operations()


@OPERATIONS.post("/v1/setup_intents", SetupIntentCreateParams)
def create(books: Books, params: Params) -> Document:
    not_simulated(params, "attach_to_self confirmation_token flow_directions on_behalf_of single_use")
    customer = books.fetch("customer", params["customer"], "customer")["id"] if "customer" in params else None
    method = _method(books, params)
    intent_id = new_id("seti")
    intent = {
        "id": intent_id,
        "object": "setup_intent",
        **nulls("allowed_payment_method_types application cancellation_reason customer_account description"),
        **nulls(
            "excluded_payment_method_types flow_directions last_setup_error latest_attempt managed_payments mandate"
        ),
        **nulls("next_action on_behalf_of payment_method_configuration_details single_use_mandate"),
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "client_secret": f"{intent_id}_secret_{random_text(25)}",
        "created": books.now(),
        "customer": customer,
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "payment_method": method["id"] if method else None,
        "payment_method_options": {"card": {**nulls("mandate_options network"), "request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "status": "requires_confirmation" if method else "requires_payment_method",
        "usage": params.get("usage", "off_session"),
    }
    apply_changes(intent, params, "description")
    books.emit("setup_intent.created", books.keep(intent))
    if params.get("confirm"):
        attempt(books, intent, method, params.get("return_url"))
    return intent


@OPERATIONS.get("/v1/setup_intents", SetupIntentListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("setup_intent", "/v1/setup_intents", params, *equal(params, "customer", "payment_method"))


@OPERATIONS.get("/v1/setup_intents/{intent}", SetupIntentRetrieveParams)
def retrieve(books: Books, _params: Params, intent_id: str) -> Document:
    return books.fetch("setup_intent", intent_id)


@OPERATIONS.post("/v1/setup_intents/{intent}", SetupIntentUpdateParams)
def update(books: Books, params: Params, intent_id: str) -> Document:
    intent = books.fetch("setup_intent", intent_id)
    apply_changes(intent, params, "customer description metadata")
    method = _method(books, params)
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    return books.keep(intent)


@OPERATIONS.post("/v1/setup_intents/{intent}/confirm", SetupIntentConfirmParams)
def confirm(books: Books, params: Params, intent_id: str) -> Document:
    not_simulated(params, "confirmation_token")
    intent = books.fetch("setup_intent", intent_id)
    expect_status(intent, CONFIRMABLE, "confirm")
    method = _method(books, params)
    if method is None and intent["payment_method"]:
        method = books.fetch("payment_method", intent["payment_method"])
    attempt(books, intent, method, params.get("return_url"))
    return intent


@OPERATIONS.post("/v1/setup_intents/{intent}/cancel", SetupIntentCancelParams)
def cancel(books: Books, params: Params, intent_id: str) -> Document:
    intent = books.fetch("setup_intent", intent_id)
    expect_status(intent, CONFIRMABLE, "cancel")
    intent |= {"status": "canceled", "cancellation_reason": params.get("cancellation_reason"), "next_action": None}
    books.emit("setup_intent.canceled", books.keep(intent))
    return intent


def attempt(books: Books, intent: Document, method: Document | None, return_url: str | None) -> None:
    """Keep the card, ask its owner first, or fail."""
    if method is None:
        raise invalid(
            "You cannot confirm this SetupIntent because it's missing a payment method.",
            code="setup_intent_unexpected_state",
        )
    intent |= {"payment_method": method["id"], "last_setup_error": None, "next_action": None}
    card = payment_methods.card_of(method)
    if card.attach:
        _fail(books, intent, method, card.attach.message, code=card.attach.code, decline_code=card.attach.decline_code)
        raise payment_methods.declined(
            card.attach, keeps_effects=True, setup_intent=public(intent), payment_method=public(method)
        )
    if card.confirmation in ("always", "unless_set_up"):
        _ask_owner(books, intent, return_url)
    else:
        _succeed(books, intent, method)


def owner_answered(books: Books, intent: Document, *, agreed: bool) -> None:
    """The card's owner has said yes or no on the 3-D Secure page."""
    if intent["status"] != "requires_action":
        return
    method = books.fetch("payment_method", intent["payment_method"])
    if agreed:
        _succeed(books, intent, method)
    else:
        _fail(books, intent, method, "We are unable to authenticate your payment method.", code=_NOT_AUTHENTICATED)


_NOT_AUTHENTICATED = "setup_intent_authentication_failure"


def _succeed(books: Books, intent: Document, method: Document) -> None:
    method["_set_up"] = True
    books.keep(method)
    if intent["customer"]:
        payment_methods.attach(books, method, intent["customer"])
    intent |= {"status": "succeeded", "next_action": None}
    books.emit("setup_intent.succeeded", books.keep(intent))


def _ask_owner(books: Books, intent: Document, return_url: str | None) -> None:
    address = f"{books.public_url}/3ds/{intent['id']}"
    if return_url:
        action: Document = {"redirect_to_url": {"return_url": return_url, "url": address}, "type": "redirect_to_url"}
    else:
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": address}}
    intent |= {"status": "requires_action", "next_action": action, "_return_url": return_url}
    books.emit("setup_intent.requires_action", books.keep(intent))


def _fail(books: Books, intent: Document, method: Document, message: str, **members: str) -> None:
    error = {"message": message, "type": "card_error", "payment_method": public(method), **members}
    intent |= {"status": "requires_payment_method", "payment_method": None, "next_action": None}
    intent["last_setup_error"] = error
    books.emit("setup_intent.setup_failed", books.keep(intent))


def _method(books: Books, params: Params) -> Document | None:
    if "payment_method_data" in params:
        return payment_methods.create(books, params["payment_method_data"])
    return payment_methods.usable(books, params["payment_method"]) if params.get("payment_method") else None
