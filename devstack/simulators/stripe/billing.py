"""The invoice for a change of a subscription: its prorations, and where a new cycle begins, the new period."""

from devstack.simulators.stripe import discounts, invoices
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.lines import billed_by, cycle_lines, line_of_item
from devstack.simulators.stripe.prorations import Changed


def draft_change(books: Books, changed_subscription: Document, changed: Changed) -> Document | None:
    """The draft for the subscription as the change would have it; None where nothing is to be billed."""
    lines = [line_of_item(books, item) for item in changed.prorations]
    if changed.anew:
        lines += cycle_lines(books, changed_subscription)
    if not lines:
        return None
    invoice = invoices.draft(
        books,
        books.fetch("customer", changed_subscription["customer"]),
        lines,
        currency=changed_subscription["currency"],
        reason="subscription_update",
        subscription=changed_subscription,
        discount_ids=discounts.for_period(books, changed_subscription, books.now()) if changed.anew else (),
    )
    if changed.anew:
        changed.billed.update(billed_by(invoice))
    for item in changed.prorations:
        books.keep({**item, "invoice": invoice["id"]})
    return invoice


def bill_change(books: Books, subscription: Document, changed: Changed) -> Document | None:
    """The same, opened, and written on the subscription as its latest."""
    invoice = draft_change(books, subscription, changed)
    if invoice is not None:
        books.keep({**subscription, "latest_invoice": invoice["id"]})
        invoices.finalize(books, invoice)
    return invoice
