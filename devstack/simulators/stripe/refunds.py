"""Refunds: all or part of a charge. What is given back is never more than what was taken.

Two test cards have refunds that are settled later: one arrives after it was pending, one fails after it had succeeded.
"""

from typing import Final

from stripe.params import RefundCreateParams, RefundListParams, RefundRetrieveParams, RefundUpdateParams

from devstack.simulators.stripe import disputes, payment_methods
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
from devstack.simulators.stripe.cards import RefundOutcome
from devstack.simulators.stripe.charges import move_balance
from devstack.simulators.stripe.errors import invalid, not_simulated, wrong_state
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
SETTLED_AFTER: Final = 24 * 3600
"""Seconds, where a refund is settled later."""
REFUND_ORDER: Final = ("refund.created", "charge.refunded", "refund.updated", "charge.refund.updated")


@OPERATIONS.post("/v1/refunds", RefundCreateParams)
def create(books: Books, params: Params) -> Document:
    not_simulated(params, "origin refund_application_fee reverse_transfer instructions_email")
    charge = _charge(books, params)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = params.get("amount", left)
    if not disputes.refundable(books, charge):
        raise wrong_state(f"Charge {charge['id']} has been charged back.", "charge_disputed")
    if charge["refunded"]:
        raise wrong_state(f"Charge {charge['id']} has already been refunded.", "charge_already_refunded")
    if not 0 < amount <= left:
        raise invalid(
            f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})",
            param="amount",
            code="refund_amount_invalid",
        )
    with books.in_order(REFUND_ORDER):
        return _give_back(books, charge, amount, params)


def _outcome(books: Books, charge: Document) -> RefundOutcome:
    return payment_methods.card_of(books.fetch("payment_method", charge["payment_method"])).refund


def _give_back(books: Books, charge: Document, amount: int, params: Params) -> Document:
    outcome = _outcome(books, charge)
    refund = {
        "id": new_id("re"),
        "object": "refund",
        **nulls("customer_account receipt_number source_transfer_reversal transfer_reversal"),
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": books.now(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "status": "pending" if outcome == "later" else "succeeded",
        "_settles_at": None if outcome == "at_once" else books.now() + SETTLED_AFTER,
        "_fails": outcome == "fails_later",
    }
    refund["balance_transaction"] = move_balance(books, refund, -amount, 0, "refund")["id"]
    books.emit("refund.created", books.keep(refund))
    before = {name: charge[name] for name in ("amount_refunded", "refunded")}
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    books.emit("charge.refunded", books.keep(charge), before)
    if charge["refunded"]:
        disputes.refunded_in_full(books, charge["id"])
    if outcome == "later":
        return books.keep(refund)
    refund["destination_details"]["card"] |= {
        "reference": random_text(15),
        "reference_status": "available",
        "reference_type": "acquirer_reference_number",
    }
    for kind in ("refund.updated", "charge.refund.updated"):
        books.emit(kind, books.keep(refund), {"destination_details": {"card": {"reference_status": "pending"}}})
    return refund


def settle(books: Books, refund: Document) -> Document:
    """What becomes of a refund some time later, for the cards that have it so: it arrives, or the bank returns it."""
    if refund.get("_settles_at") is None:
        raise wrong_state(f"Refund {refund['id']} is {refund['status']} and stays so.", "refund_settled")
    previous = {"status": refund["status"]}
    refund |= {"status": "failed" if refund["_fails"] else "succeeded", "_settles_at": None}
    kinds = ["refund.updated", "charge.refund.updated"]
    if refund["_fails"]:
        _take_back(books, refund)
        kinds.append("refund.failed")
    with books.in_order(kinds):
        for kind in kinds:
            books.emit(kind, books.keep(refund), None if kind == "refund.failed" else previous)
    return refund


def _take_back(books: Books, refund: Document) -> None:
    """The bank could not pass it on: the money is the seller's again, and so is the charge."""
    refund["failure_reason"] = "unknown"
    refund["failure_balance_transaction"] = move_balance(books, refund, refund["amount"], 0, "refund_failure")["id"]
    charge = books.fetch("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    books.keep(charge)


def _charge(books: Books, params: Params) -> Document:
    if "charge" in params:
        charge = books.fetch("charge", params["charge"], "charge")
    elif "payment_intent" in params:
        intent = books.fetch("payment_intent", params["payment_intent"], "payment_intent")
        if intent["latest_charge"] is None:
            raise invalid("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
        charge = books.fetch("charge", intent["latest_charge"])
    else:
        raise invalid("One of charge or payment_intent has to be given.", param="charge", code="parameter_missing")
    if not charge["captured"]:
        raise invalid(f"Charge {charge['id']} was not paid and cannot be refunded.", param="charge")
    return charge


@OPERATIONS.get("/v1/refunds", RefundListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("refund", "/v1/refunds", params, *equal(params, "charge", "payment_intent"))


@OPERATIONS.get("/v1/refunds/{refund}", RefundRetrieveParams)
def retrieve(books: Books, _params: Params, refund_id: str) -> Document:
    return books.fetch("refund", refund_id)


@OPERATIONS.post("/v1/refunds/{refund}", RefundUpdateParams)
def update(books: Books, params: Params, refund_id: str) -> Document:
    refund = books.fetch("refund", refund_id)
    previous = apply_changes(refund, params, "metadata")
    books.keep(refund)
    if previous:
        books.emit("refund.updated", refund, previous)
    return refund
