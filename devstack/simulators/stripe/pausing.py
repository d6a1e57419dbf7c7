"""Collection paused: what becomes of a subscription's invoices while `pause_collection` is set.

| behavior | a renewal's invoice |
|---|---|
| keep_as_draft | stays a draft, until somebody lets it advance |
| mark_uncollectible | is opened and given up, nothing is charged |
| void | is opened and voided, nothing is charged |

An invoice that was open before goes on being tried (https://docs.stripe.com/billing/subscriptions/pause-payment).
"""

from devstack.simulators.stripe import invoices
from devstack.simulators.stripe.books import Books, Document


def behavior(subscription: Document) -> str | None:
    paused = subscription["pause_collection"]
    return paused["behavior"] if paused else None


def keeps_drafts(subscription: Document) -> bool:
    return behavior(subscription) == "keep_as_draft"


def set_aside(books: Books, invoice: Document) -> bool:
    """Whether the invoice, which was opened just now, is not to be collected; then it is closed."""
    subscription = books.find("subscription", invoice["_subscription"] or "")
    match behavior(subscription) if subscription else None:
        case "void":
            invoices.void(books, invoice)
        case "mark_uncollectible":
            mark_uncollectible(books, invoice)
        case _:
            return False
    return True


def mark_uncollectible(books: Books, invoice: Document) -> Document:
    invoice["status_transitions"]["marked_uncollectible_at"] = books.now()
    invoice |= {"status": "uncollectible", "auto_advance": False, "next_payment_attempt": None}
    books.emit("invoice.marked_uncollectible", books.keep(invoice))
    return invoice


def resume(books: Books, subscription: Document) -> None:
    """The pause has come to its end."""
    previous = {"pause_collection": subscription["pause_collection"]}
    books.emit("customer.subscription.updated", books.keep({**subscription, "pause_collection": None}), previous)
