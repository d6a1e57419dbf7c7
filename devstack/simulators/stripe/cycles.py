"""Billing cycles: what falls due of subscriptions and invoices as time passes, in its order.

| falls due | what |
|---|---|
| a pending update's `expires_at` | it is given up |
| 23 hours of an unpaid first invoice | the subscription expires |
| three days before the end of a trial | it is told |
| the end of a trial | the first period, and an invoice for it |
| seven days before the end of a period | the coming invoice is told |
| a subscription's `cancel_at` | it ends |
| the end of its period | the next phase of its schedule begins, the next period, and a draft invoice for it |
| a pause's `resumes_at` | invoices are collected again |
| a draft's `automatically_finalizes_at` | it is opened, and its payment tried |
| an open invoice's `next_payment_attempt` | tried again; after the last try the account's settings say what happens |
| a refund that its card settles later | it arrives, or the bank returns it |
| a checkout session's `expires_at` | it is closed |
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from devstack.simulators.journal import Where
from devstack.simulators.stripe import (
    discounts,
    invoices,
    lifecycle,
    pausing,
    pending,
    phases,
    refunds,
    settlement,
    trials,
)
from devstack.simulators.stripe.account import collection_settings
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.errors import Refused
from devstack.simulators.stripe.lines import billed_by, cycle_lines, line_of_item, next_period, waiting_items

_FIRST_PAYMENT_WITHIN: Final = 23 * 3600
_TRIAL_END_TOLD: Final = 3 * 24 * 3600
_OPEN: Final = Where("$.status", "open")
_UPCOMING_TOLD: Final = 7 * 24 * 3600
CYCLE_ORDER: Final = ("customer.subscription.updated", "invoice.created")


class Due(NamedTuple):
    at: int
    rank: int
    work: Callable[[], object]


def next_due(books: Books, clock: str | None, until: int) -> int | None:
    """When the next thing falls due for the objects of the clock, None: of the real time; not after `until`."""
    return min((due.at for due in _due(books, clock, until)), default=None)


def carry_on(books: Books, clock: str | None, until: int) -> None:
    """Do whatever falls due for the objects of the clock up to then, each at its own instant."""
    while due := min(_due(books, clock, until), key=lambda one: (one.at, one.rank), default=None):
        with books.at(due.at):
            due.work()


def _due(books: Books, clock: str | None, until: int) -> Iterator[Due]:
    its = Where("$.test_clock", clock, "IS")
    for subscription in books.all("subscription", its, Where("$.ended_at", None, "IS")):
        yield from (due for due in _of_subscription(books, subscription) if due.at <= until)
    for invoice in (*books.all("invoice", its, Where("$.status", "draft")), *books.all("invoice", its, _OPEN)):
        yield from (due for due in _of_invoice(books, invoice) if due.at <= until)
    yield from (due for due in _of_refunds(books, clock) if due.at <= until)


def _of_refunds(books: Books, clock: str | None) -> Iterator[Due]:
    for refund in books.all("refund", Where("$._settles_at", 0, ">")):
        customer = books.find("customer", refund["customer"] or "")
        if customer and customer.get("test_clock") == clock:
            yield Due(refund["_settles_at"], 5, partial(refunds.settle, books, refund))


def _of_subscription(books: Books, subscription: Document) -> Iterator[Due]:
    if subscription["pending_update"]:
        expires = subscription["pending_update"]["expires_at"]
        yield Due(expires, 0, lambda: pending.expire(books, subscription))
    if subscription["cancel_at"]:
        yield Due(subscription["cancel_at"], 1, lambda: lifecycle.end(books, subscription, "canceled", None))
    if resumes_at := (subscription["pause_collection"] or {}).get("resumes_at"):
        yield Due(resumes_at, 1, lambda: pausing.resume(books, subscription))
    yield from _of_status(books, subscription)


def _of_status(books: Books, subscription: Document) -> Iterator[Due]:
    status, end = subscription["status"], _period_end(subscription)
    if status == "incomplete":
        yield Due(subscription["created"] + _FIRST_PAYMENT_WITHIN, 2, lambda: _expire(books, subscription))
    elif status == "trialing":
        if not subscription.get("_end_told"):
            yield Due(subscription["trial_end"] - _TRIAL_END_TOLD, 0, lambda: _tell_trial_end(books, subscription))
        yield Due(subscription["trial_end"], 2, lambda: trials.finish(books, subscription))
    elif status in lifecycle.RENEWING:
        if subscription.get("_upcoming_told") != end and not subscription["cancel_at"]:
            yield Due(end - _UPCOMING_TOLD, 0, lambda: _tell_upcoming(books, subscription))
        yield Due(end, 2, lambda: renew(books, subscription))


def _expire(books: Books, subscription: Document) -> None:
    """Nobody has paid the first invoice in time: it is void, and so is the purchase."""
    for invoice in books.all("invoice", Where("$._subscription", subscription["id"]), Where("$.status", "open")):
        invoices.void(books, invoice)
    lifecycle.end(books, subscription, "incomplete_expired", None)


def _tell_trial_end(books: Books, subscription: Document) -> None:
    books.emit("customer.subscription.trial_will_end", books.keep({**subscription, "_end_told": True}))


def _tell_upcoming(books: Books, subscription: Document) -> None:
    """The coming invoice, as a preview shows it; it has no id yet."""
    with books.only_looking():
        coming = renew(books, dict(subscription))
    books.keep({**subscription, "_upcoming_told": _period_end(subscription)})
    shown = {name: value for name, value in coming.items() if name != "id"}
    books.emit("invoice.upcoming", {**shown, "automatically_finalizes_at": None})


def _of_invoice(books: Books, invoice: Document) -> Iterator[Due]:
    if invoice["status"] == "draft" and invoice["auto_advance"] and invoice["automatically_finalizes_at"]:
        yield Due(invoice["automatically_finalizes_at"], 3, lambda: _open(books, invoice))
    if invoice["status"] == "open" and invoice["next_payment_attempt"]:
        yield Due(invoice["next_payment_attempt"], 4, lambda: _try_again(books, invoice))


def _period_end(subscription: Document) -> int:
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


def renew(books: Books, subscription: Document) -> Document:
    """The next period, with the draft of its invoice."""
    with books.in_order(CYCLE_ORDER):
        at = _period_end(subscription)
        previous = {name: subscription[name] for name in ("discounts", "items", "latest_invoice")}
        items = phases.turn(books, subscription, at) or subscription["items"]["data"]
        anchor = subscription["billing_cycle_anchor"]
        renewed = []
        for item in items:
            start, end = next_period(books, item["price"], anchor, at)
            renewed.append({**item, "current_period_start": start, "current_period_end": end})
        subscription["items"] = {**subscription["items"], "data": renewed}
        invoice = _draft(books, subscription, at)
        subscription |= {"latest_invoice": invoice["id"], "_billed": billed_by(invoice)}
        discounts.after_invoice(books, subscription, invoice, at)
        books.emit("customer.subscription.updated", books.keep(subscription), previous)
    return invoice


def _draft(books: Books, subscription: Document, start: int) -> Document:
    waiting = waiting_items(books, subscription)
    invoice = invoices.draft(
        books,
        books.fetch("customer", subscription["customer"]),
        [*cycle_lines(books, subscription), *(line_of_item(books, item) for item in waiting)],
        currency=subscription["currency"],
        reason="subscription_cycle",
        subscription=subscription,
        discount_ids=discounts.for_period(books, subscription, start),
        **_advancing(books, subscription),
    )
    for item in waiting:
        books.keep({**item, "invoice": invoice["id"]})
    return invoice


def _advancing(books: Books, subscription: Document) -> Document:
    """A draft is opened after an hour; one of a subscription that is given up as unpaid stays a draft."""
    if subscription["status"] == "unpaid" or pausing.keeps_drafts(subscription):
        return {"auto_advance": False}
    return {"automatically_finalizes_at": books.now() + invoices.DRAFT_FOR}


def _open(books: Books, invoice: Document) -> None:
    with books.in_order(settlement.PAYMENT_ORDER):
        try:
            invoices.finalize(books, invoice)
        except Refused as refusal:
            _note_refusal(books, invoice, refusal)
            return
        if invoice["status"] == "open" and not pausing.set_aside(books, invoice):
            settlement.collect_unattended(books, invoice)


def _note_refusal(books: Books, invoice: Document, refusal: Refused) -> None:
    """It cannot be opened, for want of an address to tax, and stays a draft."""
    error = {name: refusal.error[name] for name in ("code", "message", "type")}
    invoice |= {"automatically_finalizes_at": None, "last_finalization_error": error}
    books.emit("invoice.finalization_failed", books.keep(invoice))


def _try_again(books: Books, invoice: Document) -> None:
    with books.in_order(settlement.PAYMENT_ORDER):
        settlement.collect_unattended(books, invoice)
        after = books.fetch("invoice", invoice["id"])
        if after["status"] != "open" or after["next_payment_attempt"]:
            return
        books.keep({**after, "auto_advance": False})
        if after["_subscription"]:
            lifecycle.given_up(books, after["_subscription"], collection_settings(books).after)
