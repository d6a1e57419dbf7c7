"""The end of a trial: moved, or now. What happens now is what the subscription's trial settings say for its card."""

from devstack.simulators.stripe import discounts, invoices, lifecycle, settlement
from devstack.simulators.stripe.books import Books, Document, Params
from devstack.simulators.stripe.customers import default_payment_method
from devstack.simulators.stripe.errors import invalid
from devstack.simulators.stripe.lines import billed_by, cycle_lines, next_period


def move(subscription: Document, params: Params) -> Document:
    """Another end, with the periods and the anchor along; returns what they were."""
    end = params.get("trial_end")
    if end in (None, "now") or subscription["status"] != "trialing":
        return {}
    previous = {name: subscription[name] for name in ("trial_end", "billing_cycle_anchor")}
    subscription |= {"trial_end": end, "billing_cycle_anchor": end}
    for item in subscription["items"]["data"]:
        item["current_period_end"] = end
    return previous


def finish(books: Books, subscription: Document) -> None:
    """End the trial now: bill the first period; or without any card pause or cancel, where that was asked for."""
    if subscription["status"] != "trialing":
        raise invalid("The subscription is not trialing.", param="trial_end")
    now = books.now()
    subscription["trial_end"] = now
    has_card = subscription["default_payment_method"] or default_payment_method(books, subscription["customer"])
    missing = None if has_card else subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if missing == "pause":
        pause(books, subscription, "trial_end_without_payment_method")
    elif missing == "cancel":
        lifecycle.end(books, subscription, "canceled", None)
    else:
        _bill(books, subscription)


def pause(books: Books, subscription: Document, why: str) -> None:
    details = {"subscription": {"type": why}, "transitioned_at": books.now(), "type": "subscription"}
    subscription |= {"status": "paused", "status_details": {"paused": details}}
    books.emit("customer.subscription.paused", books.keep(subscription))


def _bill(books: Books, subscription: Document) -> None:
    subscription |= {"status": "active", "billing_cycle_anchor": books.now()}
    for item in subscription["items"]["data"]:
        item["current_period_start"], item["current_period_end"] = next_period(books, item["price"], books.now())
    customer = books.fetch("customer", subscription["customer"])
    invoice = invoices.draft(
        books,
        customer,
        cycle_lines(books, subscription),
        currency=subscription["currency"],
        reason="subscription_cycle",
        subscription=subscription,
        discount_ids=discounts.for_period(books, subscription, books.now()),
    )
    subscription |= {"latest_invoice": invoice["id"], "_billed": billed_by(invoice)}
    discounts.after_invoice(books, subscription, invoice, books.now())
    books.keep(subscription)
    invoices.finalize(books, invoice)
    if invoice["status"] == "open":
        settlement.collect_unattended(books, invoice)
