"""API of the hosted checkout page, as far as the Stripe CLI's fixtures pay a session through it.

Undocumented and no part of the SDK, so its parameters are declared here.
"""

from typing import NotRequired, TypedDict

from devstack.simulators.stripe import checkout, payment_methods, purchase
from devstack.simulators.stripe.books import Books, Document, Params
from devstack.simulators.stripe.errors import invalid, wrong_state
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()


class PageParams(TypedDict):
    expand: NotRequired[list[str]]


class PageConfirmParams(TypedDict):
    payment_method: str
    expected_amount: NotRequired[int]
    expand: NotRequired[list[str]]


@OPERATIONS.get("/v1/payment_pages/{session}", PageParams)
def retrieve(books: Books, _params: Params, session_id: str) -> Document:
    return checkout.current(books, session_id)


@OPERATIONS.post("/v1/payment_pages/{session}/confirm", PageConfirmParams)
def confirm(books: Books, params: Params, session_id: str) -> Document:
    session = checkout.current(books, session_id)
    if session["status"] != "open":
        raise wrong_state(f"This Checkout Session is {session['status']}.", "checkout_session_not_open")
    if params.get("expected_amount", session["amount_total"]) != session["amount_total"]:
        raise invalid("The amount has changed.", param="expected_amount", code="checkout_amount_mismatch")
    return purchase.pay_with(books, session, payment_methods.usable(books, params["payment_method"]))
