"""Changing a running subscription: its plan, its end, its details."""

from typing import Final

from stripe.params import SubscriptionUpdateParams

from devstack.simulators.stripe import (
    discounts,
    lifecycle,
    payment_methods,
    pending,
    promotion_codes,
    prorations,
    settlement,
    trials,
)
from devstack.simulators.stripe.billing import bill_change
from devstack.simulators.stripe.books import Books, Document, Params, apply_changes, nulls
from devstack.simulators.stripe.currencies import unit_amount
from devstack.simulators.stripe.errors import Refused, invalid, not_simulated, wrong_state
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
    "invoice.voided",
    "customer.updated",
    "customer.subscription.updated",
    "customer.subscription.pending_update_applied",
    "customer.subscription.pending_update_expired",
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
    subscription = books.fetch("subscription", subscription_id)
    if subscription["status"] in lifecycle.ENDED:
        raise wrong_state(
            "A canceled subscription can only update its cancellation_details and metadata.", "subscription_canceled"
        )
    with books.in_order(CHANGING_ORDER):
        if params.get("payment_behavior") == "pending_if_incomplete":
            return _change_if_paid(books, subscription, params)
        _expect_no_schedule(subscription, params)
        previous = _change_details(books, subscription, params)
        previous |= _change_end(books, subscription, params)
        changed = _change_items(books, subscription, params)
        if changed:
            pending.discard(books, subscription)
            previous["items"] = subscription["items"]
            subscription["items"] = {**subscription["items"], "data": changed.items}
            subscription["_billed"] = changed.billed
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


def _change_if_paid(books: Books, subscription: Document, params: Params) -> Document:
    unfit = sorted(params.keys() - _PENDABLE)
    if unfit:
        raise invalid(
            f"You cannot pass {unfit[0]} with payment_behavior=pending_if_incomplete.",
            unfit[0],
            "payment_behavior_unsupported_parameter",
        )
    pending.discard(books, subscription)
    changed = _change_items(books, subscription, params)
    if changed:
        _hold(books, subscription, changed, params)
    return books.fetch("subscription", subscription["id"])


def _hold(books: Books, subscription: Document, changed: prorations.Changed, params: Params) -> None:
    """Try to have the change paid; it counts at once where that succeeds, or where nothing is due."""
    billed_now = changed.anew or params.get("proration_behavior") == "always_invoice"
    invoice = pending.hold(books, subscription, changed, billed_now=billed_now)
    if invoice is None or invoice["status"] != "open":
        return
    try:
        method = settlement.method_for(books, invoice)
        settlement.collect(books, invoice, method, off_session=bool(params.get("off_session")))
    except Refused as refusal:
        if not refusal.keeps_effects:
            raise
    after = books.fetch("subscription", subscription["id"])
    if after["pending_update"]:
        previous = {"latest_invoice": subscription["latest_invoice"], "pending_update": None}
        books.emit("customer.subscription.updated", after, previous)


_PENDABLE: Final = frozenset(
    ("items", "payment_behavior", "proration_behavior", "proration_date", "billing_cycle_anchor", "off_session")
)


def _expect_no_schedule(subscription: Document, params: Params) -> None:
    """Its schedule alone says how a scheduled subscription ends."""
    if subscription["schedule"] and ("cancel_at" in params or "cancel_at_period_end" in params):
        raise invalid(
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any"
            " cancelation behavior directly is not allowed. Please update the schedule instead.",
            param="cancel_at" if "cancel_at" in params else "cancel_at_period_end",
        )


def _change_details(books: Books, subscription: Document, params: Params) -> Document:
    if params.get("default_payment_method"):
        payment_methods.of_customer(books, params["default_payment_method"], subscription["customer"])
    previous = apply_changes(subscription, params, _PLAIN + " pause_collection")
    if subscription["pause_collection"]:
        subscription["pause_collection"] = {"resumes_at": None, **subscription["pause_collection"]}
    previous |= _nested(subscription, "payment_settings", params.get("payment_settings"))
    previous |= _nested(subscription, "automatic_tax", params.get("automatic_tax"))
    previous |= _nested(subscription, "cancellation_details", params.get("cancellation_details"))
    if "discounts" in params:
        previous["discounts"] = subscription["discounts"]
        chosen = promotion_codes.wanted(books, params, _bought(books, subscription))
        subscription["discounts"] = discounts.give(
            books, chosen, customer=subscription["customer"], subscription=subscription["id"]
        )
    return previous | trials.move(subscription, params)


def _bought(books: Books, subscription: Document) -> discounts.Purchase:
    currency = subscription["currency"]
    items = subscription["items"]["data"]
    amount = sum(unit_amount(books, item["price"], currency) * item["quantity"] for item in items)
    return discounts.Purchase(subscription["customer"], amount, currency)


def _nested(subscription: Document, name: str, changes: Document | None) -> Document:
    if not changes:
        return {}
    before = subscription[name]
    subscription[name] = {**before, **{key: None if value == "" else value for key, value in changes.items()}}
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
    """Invoice the change now and try to collect it. A failure leaves it open, unless the request would rather fail."""
    invoice = bill_change(books, subscription, changed)
    if invoice is None or invoice["status"] != "open":
        return
    try:
        method = settlement.method_for(books, invoice)
        settlement.collect(books, invoice, method, off_session=bool(params.get("off_session")))
    except Refused as refusal:
        if params.get("payment_behavior") == "error_if_incomplete" or not refusal.keeps_effects:
            refusal.keeps_effects = False
            raise
