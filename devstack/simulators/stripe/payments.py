"""Payment intents: the states of one payment, be it asked for by the API, by checkout or by an invoice.

    requires_payment_method → requires_confirmation → requires_action → succeeded
              ↑ declined ─────────────┴──────────────────┘        (manual capture: requires_capture first)

The moves are here; who is told what else follows from them is in `settlement`.
"""

from collections.abc import Sequence
from typing import Any, Final

from devstack.simulators.stripe import disputes, payment_methods
from devstack.simulators.stripe.books import Books, Document, new_id, nulls, public, random_text
from devstack.simulators.stripe.cards import AUTHENTICATION, Decline
from devstack.simulators.stripe.charges import charge, settle
from devstack.simulators.stripe.errors import Refused, wrong_state

CONFIRMABLE: Final = ("requires_payment_method", "requires_confirmation", "requires_action")


def open_intent(
    books: Books,
    amount: int,
    currency: str,
    *,
    customer: str | None,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
    setup_future_usage: str | None = None,
    method: str | None = None,
    **members: Any,
) -> Document:
    """A new intent, written and told."""
    intent_id = new_id("pi")
    intent = {
        "id": intent_id,
        "object": "payment_intent",
        **_blank(),
        "amount": amount,
        "client_secret": f"{intent_id}_secret_{random_text(25)}",
        "created": books.now(),
        "currency": currency,
        "customer": customer,
        "description": description,
        "metadata": metadata or {},
        "payment_method": method,
        "setup_future_usage": setup_future_usage,
        "status": "requires_confirmation" if method else "requires_payment_method",
        **members,
    }
    books.emit("payment_intent.created", books.keep(intent))
    return intent


def _blank() -> Document:
    """What no intent of ours uses, and what none has before it is paid."""
    return {
        **nulls("allowed_payment_method_types application application_fee_amount automatic_payment_methods"),
        **nulls("canceled_at cancellation_reason customer_account excluded_payment_method_types last_payment_error"),
        **nulls("latest_charge managed_payments next_action on_behalf_of payment_method_configuration_details"),
        **nulls("payment_record processing receipt_email review shipping source statement_descriptor"),
        **nulls("statement_descriptor_suffix transfer_data transfer_group"),
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "livemode": False,
        "payment_method_options": {
            "card": {**nulls("installments mandate_options network"), "request_three_d_secure": "automatic"}
        },
        "payment_method_types": ["card"],
    }


def confirm(
    books: Books,
    intent: Document,
    method: Document,
    *,
    off_session: bool = False,
    confirmed: bool = False,
    return_url: str | None = None,
) -> Document:
    """Try to pay. Ends in succeeded, requires_capture or requires_action; a decline is written down and raised.

    `confirmed`: the card's owner has just said yes to it.
    """
    expect_status(intent, CONFIRMABLE, "confirm")
    card = payment_methods.card_of(method)
    intent |= {"payment_method": method["id"], "next_action": None, "last_payment_error": None}
    if not confirmed and card.needs_owner(off_session=off_session, set_up=method["_set_up"]):
        if off_session:
            raise _fail(books, intent, method, AUTHENTICATION, None)
        return _ask_owner(books, intent, return_url)
    document = charge(books, intent, method, card.charge, confirmed=confirmed)
    intent["latest_charge"] = document["id"]
    if card.charge:
        raise _fail(books, intent, method, card.charge, document)
    books.emit("charge.succeeded", document)
    if card.disputed:
        disputes.begin(books, document, *card.disputed)
    _keep_method(books, intent, method, confirmed=confirmed)
    return _receive(books, intent)


def _receive(books: Books, intent: Document) -> Document:
    if intent["capture_method"] == "manual":
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
        books.emit("payment_intent.amount_capturable_updated", books.keep(intent))
    else:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
        books.emit("payment_intent.succeeded", books.keep(intent))
    return intent


def _keep_method(books: Books, intent: Document, method: Document, *, confirmed: bool) -> None:
    """A payment that was meant to be repeated leaves its card with the customer, set up if its owner confirmed it."""
    if not intent["setup_future_usage"] or not intent["customer"]:
        return
    method["_set_up"] = method["_set_up"] or confirmed
    books.keep(method)
    payment_methods.attach(books, method, intent["customer"])


def _ask_owner(books: Books, intent: Document, return_url: str | None) -> Document:
    address = f"{books.public_url}/3ds/{intent['id']}"
    if return_url:
        action = {"redirect_to_url": {"return_url": return_url, "url": address}, "type": "redirect_to_url"}
    else:
        action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": address}}
    intent |= {"status": "requires_action", "next_action": action, "_return_url": return_url}
    books.emit("payment_intent.requires_action", books.keep(intent))
    return intent


def refuse_by_owner(books: Books, intent: Document) -> None:
    """The card's owner said no: the intent waits for another card. Nothing was charged, so nothing is raised."""
    message = (
        "We are unable to authenticate your payment method. Please choose a different payment method and try again."
    )
    method = books.find("payment_method", intent["payment_method"])
    error = {"code": "payment_intent_authentication_failure", "message": message, "type": "invalid_request_error"}
    intent["last_payment_error"] = {**error, "payment_method": payment_methods.shown(method)}
    _await_method(books, intent)


def _fail(books: Books, intent: Document, method: Document, decline: Decline, document: Document | None) -> Refused:
    error = {
        "advice_code": decline.advice,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
        "payment_method": public(method),
        "type": "card_error",
    }
    if document:
        error["charge"] = document["id"]
        books.emit("charge.failed", document)
    intent["last_payment_error"] = error
    _await_method(books, intent)
    return payment_methods.declined(
        decline,
        keeps_effects=True,
        charge=document["id"] if document else None,
        payment_intent=public(intent),
        payment_method=public(method),
    )


def _await_method(books: Books, intent: Document) -> None:
    intent |= {"status": "requires_payment_method", "payment_method": None, "next_action": None}
    books.emit("payment_intent.payment_failed", books.keep(intent))


def capture(books: Books, intent: Document, amount: int) -> Document:
    expect_status(intent, ("requires_capture",), "capture")
    document = books.fetch("charge", intent["latest_charge"])
    document |= {"captured": True, "amount_captured": amount}
    document |= {"amount_refunded": document["amount"] - amount}
    settle(books, document)
    books.emit("charge.captured", books.keep(document))
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    books.emit("payment_intent.succeeded", books.keep(intent))
    return intent


def cancel(books: Books, intent: Document, reason: str | None) -> Document:
    expect_status(intent, (*CONFIRMABLE, "requires_capture"), "cancel")
    intent |= {"status": "canceled", "canceled_at": books.now(), "cancellation_reason": reason, "next_action": None}
    books.emit("payment_intent.canceled", books.keep(intent))
    return intent


def expect_status(intent: Document, allowed: Sequence[str], verb: str) -> None:
    if intent["status"] not in allowed:
        raise wrong_state(
            f"You cannot {verb} this {intent['object'].replace('_', ' ').title().replace(' ', '')} because it has a"
            f" status of {intent['status']}.",
            f"{intent['object']}_unexpected_state",
            **{intent["object"]: public(intent)},
        )
