"""API operations on payment intents."""

from typing import Any, Final

from stripe.params import (
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    PaymentIntentUpdateParams,
)

from devstack.simulators.stripe import payment_methods, payments, settlement
from devstack.simulators.stripe.amounts import expect_chargeable
from devstack.simulators.stripe.books import Books, Document, Params, apply_changes, equal, merge_metadata
from devstack.simulators.stripe.errors import Refused, invalid, not_simulated
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_NOT_SIMULATED: Final = (
    "confirmation_token application_fee_amount transfer_data on_behalf_of mandate amount_details hooks"
)
_DIRECT_ORDER: Final = (
    "payment_intent.created",
    "payment_intent.requires_action",
    "charge.succeeded",
    "charge.failed",
    "payment_method.attached",
    "payment_intent.succeeded",
    "payment_intent.amount_capturable_updated",
    "payment_intent.payment_failed",
)


@OPERATIONS.post("/v1/payment_intents", PaymentIntentCreateParams)
def create(books: Books, params: Params) -> Document:
    not_simulated(params, _NOT_SIMULATED)
    expect_chargeable(params["amount"], params["currency"].lower(), "amount")
    customer = books.fetch("customer", params["customer"], "customer")["id"] if "customer" in params else None
    method = _method(books, params, customer)
    members = {name: params[name] for name in ("receipt_email", "shipping", "transfer_group") if name in params}
    members |= {name: params[name] for name in ("statement_descriptor", "capture_method") if name in params}
    with books.in_order(_DIRECT_ORDER):
        intent = payments.open_intent(
            books,
            params["amount"],
            params["currency"].lower(),
            customer=customer,
            description=params.get("description"),
            metadata=merge_metadata({}, params.get("metadata", {})),
            setup_future_usage=params.get("setup_future_usage"),
            method=method["id"] if method else None,
            automatic_payment_methods=_automatic(params),
            allowed_payment_method_types=params.get("allowed_payment_method_types"),
            **members,
        )
        if params.get("confirm"):
            _confirm(books, intent, method, params)
    return intent


@OPERATIONS.get("/v1/payment_intents", PaymentIntentListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("payment_intent", "/v1/payment_intents", params, *equal(params, "customer"))


@OPERATIONS.get("/v1/payment_intents/{intent}", PaymentIntentRetrieveParams)
def retrieve(books: Books, _params: Params, intent_id: str) -> Document:
    return books.fetch("payment_intent", intent_id)


@OPERATIONS.post("/v1/payment_intents/{intent}", PaymentIntentUpdateParams)
def update(books: Books, params: Params, intent_id: str) -> Document:
    not_simulated(params, "application_fee_amount transfer_data amount_details hooks")
    intent = books.fetch("payment_intent", intent_id)
    if "amount" in params or "currency" in params:
        payments.expect_status(intent, payments.CONFIRMABLE, "update")
    method = _method(books, params, params.get("customer", intent["customer"]))
    if method:
        intent |= {"payment_method": method["id"], "status": "requires_confirmation"}
    changeable = "amount currency customer description metadata receipt_email setup_future_usage shipping"
    apply_changes(intent, params, changeable)
    return books.keep(intent)


@OPERATIONS.post("/v1/payment_intents/{intent}/confirm", PaymentIntentConfirmParams)
def confirm(books: Books, params: Params, intent_id: str) -> Document:
    not_simulated(params, "confirmation_token mandate amount_details hooks amount_to_confirm")
    intent = books.fetch("payment_intent", intent_id)
    payments.expect_status(intent, payments.CONFIRMABLE, "confirm")
    apply_changes(intent, params, "receipt_email setup_future_usage shipping")
    method = _method(books, params, intent["customer"])
    if method is None and intent["payment_method"]:
        method = books.fetch("payment_method", intent["payment_method"])
    with books.in_order(settlement.PAYMENT_ORDER):
        _confirm(books, intent, method, params)
    return books.fetch("payment_intent", intent_id)


@OPERATIONS.post("/v1/payment_intents/{intent}/capture", PaymentIntentCaptureParams)
def capture(books: Books, params: Params, intent_id: str) -> Document:
    intent = books.fetch("payment_intent", intent_id)
    amount = params.get("amount_to_capture", intent["amount_capturable"])
    payments.expect_status(intent, ("requires_capture",), "capture")
    if not 0 < amount <= intent["amount_capturable"]:
        raise invalid("The amount to capture is larger than the authorized amount.", param="amount_to_capture")
    return payments.capture(books, intent, amount)


@OPERATIONS.post("/v1/payment_intents/{intent}/cancel", PaymentIntentCancelParams)
def cancel(books: Books, params: Params, intent_id: str) -> Document:
    intent = books.fetch("payment_intent", intent_id)
    return payments.cancel(books, intent, params.get("cancellation_reason"))


def _confirm(books: Books, intent: Document, method: Document | None, params: Params) -> None:
    if method is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            code="payment_intent_unexpected_state",
        )
    settlement.confirm(
        books,
        intent,
        method,
        off_session=params.get("off_session") not in (None, False),
        return_url=params.get("return_url"),
    )
    if intent["status"] == "requires_action" and params.get("error_on_requires_action"):
        payments.refuse_by_owner(books, intent)
        raise Refused(
            402,
            "Your card was declined. This transaction requires authentication.",
            keeps_effects=True,
            type="card_error",
            code="authentication_required",
            payment_intent={key: value for key, value in intent.items() if not key.startswith("_")},
        )


def _method(books: Books, params: Params, customer: str | None) -> Document | None:
    """The method that a request names or describes. One that belongs to somebody else may not be used."""
    if "payment_method_data" in params:
        data = {**params["payment_method_data"]}
        return payment_methods.create(books, data)
    if not params.get("payment_method"):
        return None
    method = payment_methods.usable(books, params["payment_method"])
    if method["customer"] and method["customer"] != customer:
        raise invalid(
            f"The provided PaymentMethod ({method['id']}) belongs to a customer; send that customer with it.",
            param="payment_method",
        )
    return method


def _automatic(params: Params) -> Any:
    given = params.get("automatic_payment_methods")
    if given is None:
        return {"allow_redirects": "always", "enabled": True}
    return {"allow_redirects": given.get("allow_redirects", "always"), "enabled": given["enabled"]}
