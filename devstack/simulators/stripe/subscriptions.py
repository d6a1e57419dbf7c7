"""Subscriptions: the operations that begin, read, stop and resume them. Changing a running one is in `changing`."""

from typing import Any, Final

from stripe.params import (
    SubscriptionCancelParams,
    SubscriptionCreateParams,
    SubscriptionItemListParams,
    SubscriptionItemRetrieveParams,
    SubscriptionListParams,
    SubscriptionPauseParams,
    SubscriptionResumeParams,
    SubscriptionRetrieveParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import (
    discounts,
    invoices,
    lifecycle,
    payment_methods,
    promotion_codes,
    settlement,
    subscribing,
    tax,
    trials,
)
from devstack.simulators.stripe.books import Books, Document, Params, a_list, equal, merge_metadata
from devstack.simulators.stripe.changing import CHANGING_ORDER
from devstack.simulators.stripe.currencies import purchase_currency, unit_amount
from devstack.simulators.stripe.ending import cancel_now
from devstack.simulators.stripe.errors import Refused, invalid, no_such, not_simulated, wrong_state
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_NOT_SIMULATED: Final = (
    "add_invoice_items application_fee_percent backdate_start_date billing_cycle_anchor billing_cycle_anchor_config"
    " billing_schedules billing_thresholds default_source default_tax_rates on_behalf_of pending_invoice_item_interval"
    " transfer_data cancel_at cancel_at_period_end"
)


@OPERATIONS.post("/v1/subscriptions", SubscriptionCreateParams)
def create(books: Books, params: Params) -> Document:
    not_simulated(params, _NOT_SIMULATED)
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    customer = books.fetch("customer", params["customer"], "customer")
    items = subscribing.recurring_items(books, params.get("items", []), "items")
    if not items:
        raise invalid("Missing required param: items.", param="items", code="parameter_missing")
    if tax.wanted(params):
        tax.expect_location(books, customer)
    with books.in_order(subscribing.BEGINNING_ORDER):
        subscription = subscribing.begin(books, _order(books, params, customer, items))
        _bill_first(books, subscription, params.get("payment_behavior", "allow_incomplete"), params)
        return subscribing.announce(books, subscription["id"])


def _order(books: Books, params: Params, customer: Document, items: Any) -> subscribing.Order:
    method = params.get("default_payment_method")
    if method:
        payment_methods.of_customer(books, method, customer["id"])
    settings = {"payment_method_options": None, "payment_method_types": None, "save_default_payment_method": "off"}
    members: Document = {"payment_settings": settings | params.get("payment_settings", {})}
    if params.get("collection_method") == "send_invoice":
        members |= {"collection_method": "send_invoice", "days_until_due": params.get("days_until_due", 30)}
    prices = [price for price, _, _ in items]
    currency = purchase_currency(books, prices, params.get("currency"), customer, "items[0][price]")
    amount = sum(unit_amount(books, price, currency) * quantity for price, quantity, _ in items)
    return subscribing.Order(
        customer=customer,
        items=items,
        method=method,
        metadata=merge_metadata({}, params.get("metadata", {})),
        description=params.get("description"),
        trial_end=subscribing.trial_end_of(books, params),
        trial_settings=subscribing.trial_settings_of(params),
        coupons=promotion_codes.wanted(books, params, discounts.Purchase(customer["id"], amount, currency)),
        currency=currency,
        automatic_tax=tax.wanted(params),
        billing_mode=params.get("billing_mode", {}),
        members=members,
    )


def _bill_first(books: Books, subscription: Document, behavior: str, params: Params) -> None:
    invoice = subscribing.first_invoice(books, subscription)
    if subscription["collection_method"] == "send_invoice":
        due = books.now() + subscription["days_until_due"] * 24 * 3600
        books.keep({**invoice, "due_date": due, "automatically_finalizes_at": books.now() + invoices.DRAFT_FOR})
        _activate(books, subscription)
        return
    invoices.finalize(books, invoice)
    if invoice["status"] == "paid":
        _activate(books, subscription)
    elif behavior != "default_incomplete":
        _try_first(books, invoice, behavior, off_session=bool(params.get("off_session")))


def _activate(books: Books, subscription: Document) -> None:
    if subscription["status"] == "incomplete":
        books.keep({**subscription, "status": "active"})


def _try_first(books: Books, invoice: Document, behavior: str, *, off_session: bool) -> None:
    method = settlement.method_for(books, invoice)
    try:
        settlement.collect(books, invoice, method, off_session=off_session)
    except Refused as refusal:
        if behavior == "error_if_incomplete" or not refusal.keeps_effects:
            refusal.keeps_effects = False  # nothing was subscribed to, so nothing is left of it
            raise
    stuck = books.fetch("invoice", invoice["id"])["status"] != "paid"
    if stuck and behavior == "error_if_incomplete":
        raise Refused(402, "The payment needs its customer's confirmation.", type="card_error")


@OPERATIONS.get("/v1/subscriptions", SubscriptionListParams)
def list_all(books: Books, params: Params) -> Document:
    chosen = equal(params, "collection_method", "customer")
    status = params.get("status")
    if status is None:
        chosen.append(Where("$.status", "canceled", "<>"))
    elif status == "ended":
        chosen.append(Where("$.ended_at", 0, ">"))
    elif status != "all":
        chosen.append(Where("$.status", status))
    if "price" in params:
        chosen.append(Where("$.items.data[0].price.id", params["price"]))
    return books.page("subscription", "/v1/subscriptions", params, *chosen)


@OPERATIONS.get("/v1/subscriptions/{subscription}", SubscriptionRetrieveParams)
def retrieve(books: Books, _params: Params, subscription_id: str) -> Document:
    return books.fetch("subscription", subscription_id)


@OPERATIONS.delete("/v1/subscriptions/{subscription}", SubscriptionCancelParams)
def cancel(books: Books, params: Params, subscription_id: str) -> Document:
    subscription = books.fetch("subscription", subscription_id)
    if subscription["status"] in lifecycle.ENDED:
        raise no_such("subscription", subscription_id, None)
    details = params.get("cancellation_details", {})
    subscription["cancellation_details"] |= {name: value or None for name, value in details.items()}
    prorate, invoice_now = bool(params.get("prorate")), bool(params.get("invoice_now"))
    with books.in_order(CHANGING_ORDER):
        cancel_now(books, subscription, prorate=prorate, invoice_now=invoice_now)
    return books.fetch("subscription", subscription_id)


@OPERATIONS.post("/v1/subscriptions/{subscription}/pause", SubscriptionPauseParams)
def pause(books: Books, params: Params, subscription_id: str) -> Document:
    not_simulated(params, "bill_for invoicing_behavior")
    subscription = books.fetch("subscription", subscription_id)
    if subscription["status"] not in ("active", "trialing"):
        raise wrong_state("Only a running subscription can be paused.", "subscription_not_active")
    trials.pause(books, subscription, "pause_requested")
    return subscription


@OPERATIONS.post("/v1/subscriptions/{subscription}/resume", SubscriptionResumeParams)
def resume(books: Books, params: Params, subscription_id: str) -> Document:
    """Without a new cycle: the period goes on as it was. A resumption that bills at once is not carried out here."""
    anchor = params.get("billing_cycle_anchor", {"type": "now"})
    if anchor.get("type") != "unchanged":
        raise invalid(
            "This simulator resumes with billing_cycle_anchor[type]=unchanged only.",
            param="billing_cycle_anchor",
            code="parameter_not_simulated",
        )
    subscription = books.fetch("subscription", subscription_id)
    if subscription["status"] != "paused":
        raise wrong_state("Only a paused subscription can be resumed.", "subscription_not_paused")
    subscription["status"] = "active"
    subscription.pop("status_details", None)
    books.emit("customer.subscription.resumed", books.keep(subscription))
    return subscription


@OPERATIONS.get("/v1/subscription_items", SubscriptionItemListParams)
def list_items(books: Books, params: Params) -> Document:
    subscription = books.fetch("subscription", params["subscription"], "subscription")
    return a_list("/v1/subscription_items", subscription["items"]["data"])


@OPERATIONS.get("/v1/subscription_items/{item}", SubscriptionItemRetrieveParams)
def retrieve_item(books: Books, _params: Params, item_id: str) -> Document:
    for subscription in books.all("subscription"):
        for item in subscription["items"]["data"]:
            if item["id"] == item_id:
                found: Document = item
                return found
    raise no_such("subscription_item", item_id, None)
