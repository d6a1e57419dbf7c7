"""The end of a subscription at its owner's or seller's wish, with or without a last reckoning."""

from devstack.simulators.journal import Where
from devstack.simulators.stripe import invoices, lifecycle, prorations, settlement
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.lines import line_of_item, waiting_items


def cancel_now(books: Books, subscription: Document, *, prorate: bool, invoice_now: bool) -> None:
    """`prorate`: credit what is left of the period. `invoice_now`: bill whatever waits for the next invoice."""
    for invoice in books.all("invoice", Where("$._subscription", subscription["id"]), Where("$.status", "open")):
        books.keep({**invoice, "auto_advance": False, "next_payment_attempt": None})
    lifecycle.end(books, subscription, "canceled", "cancellation_requested")
    if prorate:
        prorations.credit_all(books, subscription)
    if invoice_now:
        _bill_last(books, subscription)


def _bill_last(books: Books, subscription: Document) -> None:
    waiting = waiting_items(books, subscription)
    if not waiting:
        return
    invoice = invoices.draft(
        books,
        books.fetch("customer", subscription["customer"]),
        [line_of_item(books, item) for item in waiting],
        currency=subscription["currency"],
        reason="subscription_update",
        subscription=subscription,
    )
    for item in waiting:
        books.keep({**item, "invoice": invoice["id"]})
    books.keep({**books.fetch("subscription", subscription["id"]), "latest_invoice": invoice["id"]})
    invoices.finalize(books, invoice)
    if invoice["status"] == "open":
        settlement.collect_unattended(books, invoice)
