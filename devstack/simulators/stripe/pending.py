"""Pending updates: a change that counts once its invoice is paid (`payment_behavior=pending_if_incomplete`).

Until then the subscription runs on as it was, and shows under `pending_update` what it would become. It becomes that
when the invoice is paid, by whatever way. The update is given up, and its invoice voided, when it expires (23 hours, or
the end of the period if that is sooner), when another update takes its place, and when somebody voids the invoice.
"""

from typing import Final

from devstack.simulators.stripe import invoices
from devstack.simulators.stripe.billing import draft_change
from devstack.simulators.stripe.books import Books, Document, nulls, public
from devstack.simulators.stripe.prorations import Changed

LASTS: Final = 23 * 3600


def hold(books: Books, subscription: Document, changed: Changed, *, billed_now: bool) -> Document | None:
    """The invoice that the change now waits for, unless nothing was due; None where the change needs none."""
    anchor = books.now() if changed.anew else subscription["billing_cycle_anchor"]
    items = {**subscription["items"], "data": changed.items}
    becomes = {"items": items, "billing_cycle_anchor": anchor, "_billed": changed.billed}
    invoice = draft_change(books, {**subscription, **becomes}, changed) if billed_now else None
    if invoice is None:
        _become(books, subscription, becomes)
        return None
    invoice["_update"] = True
    held = {**subscription, "latest_invoice": invoice["id"], "pending_update": _shown(books, subscription, becomes)}
    books.keep({**held, "_becomes": becomes})
    invoices.finalize(books, books.keep(invoice))
    if invoice["status"] == "paid":
        apply(books, invoice)
    return invoice


def _shown(books: Books, subscription: Document, becomes: Document) -> Document:
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    moved = becomes["billing_cycle_anchor"] != subscription["billing_cycle_anchor"]
    return {
        **nulls("trial_end trial_from_plan"),
        "billing_cycle_anchor": becomes["billing_cycle_anchor"] if moved else None,
        "expires_at": min(books.now() + LASTS, *ends),
        "subscription_items": becomes["items"]["data"],
    }


def apply(books: Books, invoice: Document) -> None:
    """The invoice is paid: if it was for a pending update, the subscription becomes what that said."""
    subscription = _waiting_for(books, invoice)
    if subscription is None:
        return
    _become(books, subscription, subscription["_becomes"])


def _become(books: Books, subscription: Document, becomes: Document) -> None:
    previous = {name: subscription[name] for name in public(becomes) if subscription[name] != becomes[name]}
    books.keep({**subscription, **becomes, "pending_update": None, "_becomes": None})
    after = books.fetch("subscription", subscription["id"])
    books.emit("customer.subscription.updated", after, previous)
    if subscription["pending_update"]:
        books.emit("customer.subscription.pending_update_applied", after)


def discard(books: Books, subscription: Document) -> None:
    """Another change takes the place of one that waits: its invoice is void."""
    if subscription["pending_update"]:
        invoices.void(books, books.fetch("invoice", subscription["latest_invoice"]))
        subscription |= {"pending_update": None, "_becomes": None}
        books.keep(subscription)


def give_up(books: Books, invoice: Document) -> None:
    """The invoice was voided: if a pending update waited for it, it waits no more."""
    subscription = _waiting_for(books, invoice)
    if subscription is None:
        return
    previous = {"pending_update": subscription["pending_update"]}
    subscription |= {"pending_update": None, "_becomes": None}
    books.emit("customer.subscription.updated", books.keep(subscription), previous)
    books.emit("customer.subscription.pending_update_expired", subscription)


def expire(books: Books, subscription: Document) -> None:
    invoice = books.fetch("invoice", subscription["latest_invoice"])
    invoices.void(books, invoice)
    give_up(books, invoice)


def _waiting_for(books: Books, invoice: Document) -> Document | None:
    if not invoice.get("_update"):
        return None
    subscription = books.fetch("subscription", invoice["_subscription"])
    waits = subscription["pending_update"] and subscription["latest_invoice"] == invoice["id"]
    return subscription if waits else None
