"""Consequences of a payment: its invoice is paid or not, and its subscription runs or does not.

Every way to pay ends here: the first invoice of a subscription, a pay call, a confirmed intent, the 3-D Secure page.
"""

from typing import Final

from devstack.simulators.journal import Where
from devstack.simulators.stripe import invoices, lifecycle, payment_methods, payments, pending
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.customers import default_payment_method
from devstack.simulators.stripe.errors import Refused, invalid

PAYMENT_ORDER: Final = (
    "invoice.created",
    "invoice.finalized",
    "payment_intent.created",
    "payment_intent.requires_action",
    "invoice.payment_action_required",
    "charge.failed",
    "payment_intent.payment_failed",
    "invoice.payment_failed",
    "invoice.updated",
    "charge.succeeded",
    "payment_method.attached",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
    "customer.subscription.created",
    "customer.subscription.updated",
)
"""For an invoice that exists or is tried without success; a first success has its own order."""


def method_for(books: Books, invoice: Document) -> Document | None:
    """The invoice's own method, else its subscription's, else its customer's."""
    subscription = books.find("subscription", invoice["_subscription"] or "")
    chosen = (
        invoice["default_payment_method"]
        or (subscription and subscription["default_payment_method"])
        or default_payment_method(books, invoice["customer"])
    )
    return books.find("payment_method", chosen) if chosen else None


def collect(books: Books, invoice: Document, method: Document | None, *, off_session: bool) -> None:
    """Try to pay an open invoice. A decline is written down everywhere it shows, then raised."""
    if method is None:
        raise invalid(
            "This customer has no attached payment source or default payment method. "
            "Please consider adding a default payment method.",
            code="resource_missing",
        )
    payment = invoices.payment_of(books, invoice["id"])
    if payment:
        confirm(books, intent_of(books, payment), method, off_session=off_session)


def confirm(
    books: Books,
    intent: Document,
    method: Document,
    *,
    off_session: bool = False,
    confirmed: bool = False,
    return_url: str | None = None,
) -> Document:
    """Confirm the intent and carry on what follows from its outcome."""
    try:
        payments.confirm(books, intent, method, off_session=off_session, confirmed=confirmed, return_url=return_url)
    except Refused as refusal:
        if refusal.keeps_effects:
            refused(books, intent)
        raise
    follow(books, intent)
    return intent


def follow(books: Books, intent: Document) -> None:
    """The intent has moved forward."""
    invoice = invoice_of(books, intent)
    if invoice is None or invoice["status"] != "open":
        return
    if intent["status"] == "succeeded":
        invoices.settle(books, invoice)
        if invoice["_subscription"]:
            _remember_method(books, invoice["_subscription"], intent["payment_method"])
            lifecycle.paid(books, invoice["_subscription"])
            pending.apply(books, invoice)
    elif intent["status"] == "requires_action":
        books.emit("invoice.payment_action_required", invoice)


def refused(books: Books, intent: Document) -> None:
    """The intent has failed."""
    invoice = invoice_of(books, intent)
    if invoice is None or invoice["status"] != "open":
        return
    invoices.payment_failed(books, invoice)
    if invoice["_subscription"] and not invoice.get("_update"):
        lifecycle.failed(books, invoice["_subscription"])


def collect_unattended(books: Books, invoice: Document) -> None:
    """Nobody waits for this payment; without a card it has failed as surely as with a declined one."""
    method = method_for(books, invoice)
    if method is None:
        invoices.payment_failed(books, invoice)
        if invoice["_subscription"]:
            lifecycle.failed(books, invoice["_subscription"])
        return
    try:
        collect(books, invoice, method, off_session=True)
    except Refused as refusal:
        if not refusal.keeps_effects:
            raise


def owner_answered(books: Books, intent: Document, *, agreed: bool) -> None:
    """The card's owner has said yes or no on the 3-D Secure page. A decline after a yes is written down, not raised."""
    if intent["status"] != "requires_action":
        return
    if not agreed:
        payments.refuse_by_owner(books, intent)
        refused(books, intent)
        return
    method = books.fetch("payment_method", intent["payment_method"])
    try:
        confirm(books, intent, method, confirmed=True, return_url=intent.get("_return_url"))
    except Refused as refusal:
        if not refusal.keeps_effects:
            raise


def invoice_of(books: Books, intent: Document) -> Document | None:
    found = books.all("invoice_payment", Where("$.payment.payment_intent", intent["id"]))
    return books.fetch("invoice", found[0]["invoice"]) if found else None


def intent_of(books: Books, payment: Document) -> Document:
    return books.fetch("payment_intent", payment["payment"]["payment_intent"])


def _remember_method(books: Books, subscription_id: str, method_id: str) -> None:
    """`save_default_payment_method: on_subscription` keeps the card that paid."""
    subscription = books.fetch("subscription", subscription_id)
    wanted = subscription["payment_settings"]["save_default_payment_method"] == "on_subscription"
    method = books.fetch("payment_method", method_id)
    if wanted and not subscription["default_payment_method"]:
        payment_methods.attach(books, method, subscription["customer"])
        subscription["default_payment_method"] = method_id
        books.keep(subscription)
