"""Beginning a subscription and its first invoice, for the API and for checkout alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from devstack.simulators.stripe import catalogue, discounts, invoices
from devstack.simulators.stripe.books import Books, Document, Params, a_list, new_id, nulls
from devstack.simulators.stripe.currencies import purchase_currency
from devstack.simulators.stripe.errors import invalid, not_simulated
from devstack.simulators.stripe.lines import billed_by, cycle_lines, next_period

BEGINNING_ORDER: Final = (
    "customer.created",
    "charge.succeeded",
    "payment_method.attached",
    "checkout.session.completed",
    "customer.updated",
    "customer.discount.created",
    "customer.subscription.created",
    "payment_intent.succeeded",
    "payment_intent.created",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
)
"""As `stripe listen` showed it for a paid first invoice: the intent's creation is told after its success."""

_ITEM_NOT_SIMULATED: Final = "plan tax_rates discounts billing_thresholds current_trial"


@dataclass(kw_only=True)
class Order:
    """What a new subscription is to be."""

    customer: Document
    items: Sequence[tuple[Document, int, dict[str, str]]]
    """Price, quantity, metadata."""
    method: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    trial_end: int | None = None
    trial_settings: Document | None = None
    coupons: Sequence[Document] = ()
    session: str | None = None
    currency: str | None = None
    automatic_tax: bool = False
    billing_mode: Params = field(default_factory=dict)
    members: Document = field(default_factory=dict)
    """Other fields as they are to be shown."""


def begin(books: Books, order: Order) -> Document:
    """The subscription, written but not told yet: its creation is told with the status that its first payment gave."""
    if not any(price["recurring"] for price, _, _ in order.items):
        raise invalid("A subscription needs at least one recurring price.", param="items")
    now = books.now()
    subscription_id = new_id("sub")
    prices = [price for price, _, _ in order.items]
    currency = purchase_currency(books, prices, order.currency, order.customer, "items[0][price]")
    given = discounts.give(
        books,
        order.coupons,
        customer=order.customer["id"],
        subscription=subscription_id,
        session=order.session,
        since=order.trial_end,
    )
    items = [_item(books, subscription_id, entry, order.trial_end) for entry in order.items]
    subscription = {
        "id": subscription_id,
        "object": "subscription",
        **_blank(),
        "billing_cycle_anchor": order.trial_end or now,
        "automatic_tax": {**nulls("disabled_reason liability"), "enabled": order.automatic_tax},
        "billing_mode": _billing_mode(order.billing_mode, now),
        "created": now,
        "currency": currency,
        "customer": order.customer["id"],
        "default_payment_method": order.method,
        "description": order.description,
        "discounts": given,
        "items": a_list(f"/v1/subscription_items?subscription={subscription_id}", items),
        "metadata": order.metadata,
        "start_date": now,
        "status": "trialing" if order.trial_end else "incomplete",
        "test_clock": order.customer["test_clock"],
        "trial_end": order.trial_end,
        "trial_settings": order.trial_settings or trial_settings_of({}),
        "trial_start": now if order.trial_end else None,
        "_announced": False,
    } | order.members
    books.keep(subscription)
    _set_currency(books, order.customer, currency)
    return subscription


def _billing_mode(wanted: Params, now: int) -> Document:
    not_simulated(wanted.get("flexible", {}), "proration_discounts")
    if wanted.get("type") == "classic":
        return {"flexible": None, "type": "classic"}
    return {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": now}


def _blank() -> Document:
    """What no subscription of ours uses."""
    return {
        **nulls("application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at"),
        **nulls("canceled_at customer_account days_until_due default_source ended_at latest_invoice managed_payments"),
        **nulls("next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval"),
        **nulls("pending_setup_intent pending_update schedule transfer_data"),
        "billing_schedules": [],
        "cancel_at_period_end": False,
        "cancellation_details": nulls("comment feedback feedback_option reason"),
        "collection_method": "charge_automatically",
        "default_tax_rates": [],
        "invoice_settings": {**nulls("account_tax_ids custom_fields description footer"), "issuer": {"type": "self"}},
        "livemode": False,
        "payment_settings": {
            **nulls("payment_method_options payment_method_types"),
            "save_default_payment_method": "off",
        },
    }


def trial_settings_of(params: Params) -> Document:
    given = params.get("trial_settings", {}).get("end_behavior", {})
    defaults = {"billing_cycle_anchor": None, "missing_payment_method": "create_invoice"}
    return {"end_behavior": defaults | given}


def _item(
    books: Books, subscription_id: str, entry: tuple[Document, int, dict[str, str]], trial_end: int | None
) -> Document:
    price, quantity, metadata = entry
    return make_item(books, subscription_id, price, quantity, metadata, (books.now(), trial_end) if trial_end else None)


def make_item(
    books: Books,
    subscription_id: str,
    price: Document,
    quantity: int,
    metadata: dict[str, str],
    period: tuple[int, int] | None = None,
) -> Document:
    start, end = period or next_period(books, price, books.now())
    return {
        "id": new_id("si", 14),
        "object": "subscription_item",
        **nulls("billing_thresholds current_trial"),
        "created": books.now(),
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": metadata,
        "plan": catalogue.plan_of(price),
        "price": price,
        "quantity": quantity,
        "subscription": subscription_id,
        "tax_rates": [],
    }


def first_invoice(books: Books, subscription: Document, extra: Sequence[Document] = ()) -> Document:
    """The draft for the first period; `extra` are one-off lines that were bought with it."""
    customer = books.fetch("customer", subscription["customer"])
    invoice = invoices.draft(
        books,
        customer,
        [*cycle_lines(books, subscription), *extra],
        currency=subscription["currency"],
        reason="subscription_create",
        subscription=subscription,
        discount_ids=subscription["discounts"],
    )
    subscription |= {"latest_invoice": invoice["id"], "_billed": billed_by(invoice)}
    discounts.after_invoice(books, subscription, invoice, books.now())
    books.keep(subscription)
    return invoice


def announce(books: Books, subscription_id: str) -> Document:
    """Tell of the subscription as it is by now; from here on its changes are told too."""
    subscription = books.fetch("subscription", subscription_id)
    subscription["_announced"] = True
    books.emit("customer.subscription.created", books.keep(subscription))
    return subscription


def recurring_items(books: Books, items: Sequence[Params], param: str) -> list[tuple[Document, int, dict[str, str]]]:
    chosen: list[tuple[Document, int, dict[str, str]]] = []
    for position, item in enumerate(items):
        not_simulated(item, _ITEM_NOT_SIMULATED)
        price = catalogue.chosen_price(books, item, f"{param}[{position}]")
        if not price["recurring"]:
            raise invalid(
                "This field only accepts prices with `type=recurring`, and the price specified is `type=one_time`.",
                param=f"{param}[{position}][price]",
            )
        chosen.append((price, item.get("quantity", 1), item.get("metadata") or {}))
    return chosen


def trial_end_of(books: Books, params: Params) -> int | None:
    end: Any = params.get("trial_end")
    if end == "now" or (end is None and not params.get("trial_period_days")):
        return None
    return int(end) if end is not None else books.now() + int(params["trial_period_days"]) * 24 * 3600


def _set_currency(books: Books, customer: Document, currency: str) -> None:
    """A customer's currency is that of the first subscription."""
    current = books.fetch("customer", customer["id"])
    if current["currency"] is None:
        books.emit("customer.updated", books.keep({**current, "currency": currency}), {"currency": None})
