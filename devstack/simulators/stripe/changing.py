"""Changing a running subscription: its plan, its end, its details."""

from typing import Final

from stripe.params import SubscriptionUpdateParams

from devstack.simulators.stripe import discounts, invoices, lifecycle, payment_methods, prorations, settlement, trials
from devstack.simulators.stripe.books import Books, Document, Params, apply_changes, nulls
from devstack.simulators.stripe.errors import Refused, invalid, not_simulated, wrong_state
from devstack.simulators.stripe.lines import cycle_lines, line_of_item
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
CHANGING_ORDER: Final = (
    "invoiceitem.created",
    "invoice.created",
    "invoice.finalized",
    "payment_intent.created",
    "charge.succeeded",
    "payment_method.attached",
    "payment_intent.succeeded",
    "charge.failed",
    "payment_intent.payment_failed",
    "invoice.payment_succeeded",
    "invoice.paid",
    "invoice_payment.paid",
    "invoice.payment_failed",
    "invoice.updated",
    "customer.updated",
    "customer.subscription.updated",
)
_NOT_SIMULATED: Final = (
    "add_invoice_items application_fee_percent billing_schedules billing_thresholds default_source default_tax_rates"
    " on_behalf_of pending_invoice_item_interval transfer_data"
)
_PLAIN: Final = (
    "cancel_at_period_end collection_method days_until_due default_payment_method description metadata trial_settings"
)


@OPERATIONS.post("/v1/subscriptions/{subscription}", SubscriptionUpdateParams)
def update(books: Books, params: Params, subscription_id: str) -> Document:
    not_simulated(params, _NOT_SIMULATED)
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise invalid(
            "This simulator does not carry out pending updates.", "payment_behavior", "parameter_not_simulated"
        )
    subscription = books.fetch("subscription", subscription_id)
    if subscription["status"] in lifecycle.ENDED:
        raise wrong_state(
            "A canceled subscription can only update its cancellation_details and metadata.", "subscription_canceled"
        )
    with books.in_order(CHANGING_ORDER):
        previous = _change_details(books, subscription, params)
        previous |= _change_end(books, subscription, params)
        changed = _change_items(books, subscription, params)
        if changed:
            previous["items"] = subscription["items"]
            subscription["items"] = {**subscription["items"], "data": changed.items}
            if changed.anew:
                previous["billing_cycle_anchor"] = subscription["billing_cycle_anchor"]
                subscription["billing_cycle_anchor"] = books.now()
        books.keep(subscription)
        if changed and (changed.anew or params.get("proration_behavior") == "always_invoice"):
            previous["latest_invoice"] = subscription["latest_invoice"]
            _bill(books, subscription, changed, params)
        if params.get("trial_end") == "now":
            previous |= {name: subscription[name] for name in ("status", "trial_end", "latest_invoice")}
            trials.finish(books, subscription)
        subscription = books.fetch("subscription", subscription_id)
        if previous:
            books.emit("customer.subscription.updated", subscription, previous)
    return subscription


def _change_details(books: Books, subscription: Document, params: Params) -> Document:
    if params.get("default_payment_method"):
        payment_methods.of_customer(books, params["default_payment_method"], subscription["customer"])
    previous = apply_changes(subscription, params, _PLAIN + " pause_collection")
    if subscription["pause_collection"]:
        subscription["pause_collection"] = {"resumes_at": None, **subscription["pause_collection"]}
    previous |= _nested(subscription, "payment_settings", params.get("payment_settings"))
    previous |= _nested(subscription, "cancellation_details", params.get("cancellation_details"))
    if "discounts" in params:
        previous["discounts"] = subscription["discounts"]
        chosen = discounts.wanted(books, params)
        subscription["discounts"] = discounts.give(
            books, chosen, customer=subscription["customer"], subscription=subscription["id"]
        )
    return previous | trials.move(subscription, params)


def _nested(subscription: Document, name: str, changes: Document | None) -> Document:
    if not changes:
        return {}
    before = subscription[name]
    subscription[name] = {**before, **{key: value or None for key, value in changes.items()}}
    return {name: before}


def _change_end(books: Books, subscription: Document, params: Params) -> Document:
    """A scheduled end is a date, `cancel_at`, whichever way it was asked for; taking it back clears all of it."""
    if "cancel_at" not in params and "cancel_at_period_end" not in params:
        return {}
    previous = {name: subscription[name] for name in ("cancel_at", "canceled_at", "cancellation_details")}
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    named = {"min_period_end": min(ends), "max_period_end": max(ends)}
    wanted = params.get("cancel_at") or None
    end = min(ends) if subscription["cancel_at_period_end"] else named.get(str(wanted), wanted)
    details = subscription["cancellation_details"] or nulls("comment feedback feedback_option reason")
    subscription |= {
        "cancel_at": end,
        "canceled_at": books.now() if end else None,
        "cancellation_details": {**details, "reason": "cancellation_requested" if end else None},
    }
    return {name: value for name, value in previous.items() if subscription[name] != value}


def _change_items(books: Books, subscription: Document, params: Params) -> prorations.Changed | None:
    anchor = params.get("billing_cycle_anchor") or {}
    reset = anchor.get("type") == "now"
    if "items" not in params and not reset:
        return None
    behavior = params.get("proration_behavior", "create_prorations")
    at = params.get("proration_date", books.now())
    return prorations.change_items(books, subscription, params.get("items", []), behavior, at, reset=reset)


def _bill(books: Books, subscription: Document, changed: prorations.Changed, params: Params) -> None:
    """Invoice the change now and try to collect it; a failure leaves it open, unless the request would rather fail."""
    lines = [line_of_item(books, item) for item in changed.prorations]
    if changed.anew:
        lines += cycle_lines(books, subscription)
    if not lines:
        return
    customer = books.fetch("customer", subscription["customer"])
    invoice = invoices.draft(
        books,
        customer,
        lines,
        currency=subscription["currency"],
        reason="subscription_update",
        subscription=subscription,
    )
    for item in changed.prorations:
        books.keep({**item, "invoice": invoice["id"]})
    books.keep({**subscription, "latest_invoice": invoice["id"]})
    invoices.finalize(books, invoice)
    if invoice["status"] != "open":
        return
    try:
        method = settlement.method_for(books, invoice)
        settlement.collect(books, invoice, method, off_session=bool(params.get("off_session")))
    except Refused as refusal:
        if params.get("payment_behavior") == "error_if_incomplete" or not refusal.keeps_effects:
            refusal.keeps_effects = False
            raise
