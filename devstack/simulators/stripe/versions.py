"""Events for an endpoint of an older API version: some fields stood elsewhere before `basil` (2025-03-31).

A webhook's payload follows its endpoint's version and not the client's. Only what a reader of this project's kind would
stumble over is carried back: a subscription's period, an invoice's subscription and payment, a line's price, a
payment's invoice. Every later version gets the present shape, with that version's name on the event.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from devstack.simulators.journal import Where
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.catalogue import plan_of

BASIL: Final = "2025-03-31"


def rendered(books: Books, event: Document, version: str) -> Document:
    shown: Document = {**event, "api_version": version}
    if version >= BASIL:
        return shown
    return {**shown, "data": {**event["data"], "object": _older(books, event["data"]["object"])}}


def _older(books: Books, value: Any) -> Any:
    if isinstance(value, list):
        return [_older(books, item) for item in value]
    if not isinstance(value, dict):
        return value
    document = {name: _older(books, item) for name, item in value.items()}
    change = _CHANGES.get(document.get("object", ""))
    return change(books, document) if change else document


def _subscription(_books: Books, subscription: Document) -> Document:
    items = subscription["items"]["data"]
    first = items[0]
    older = {
        "current_period_end": first["current_period_end"],
        "current_period_start": first["current_period_start"],
        "discount": next(iter(subscription["discounts"]), None),
        "plan": first["plan"],
        "quantity": first["quantity"],
    }
    for item in items:
        del item["current_period_end"], item["current_period_start"]
    return _without(subscription, "billing_mode") | older


def _invoice(books: Books, invoice: Document) -> Document:
    payments = books.all("invoice_payment", Where("$.invoice", invoice["id"]))
    intent_id = payments[0]["payment"]["payment_intent"] if payments else None
    intent = books.find("payment_intent", intent_id) if intent_id else None
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    older = {
        "charge": intent["latest_charge"] if intent else None,
        "paid": invoice["status"] == "paid",
        "payment_intent": intent_id,
        "subscription": details.get("subscription"),
        "subscription_details": {"metadata": details["metadata"]} if details else None,
        "tax": None,
    }
    return _without(invoice, "parent", "total_taxes") | older


def _line(books: Books, line: Document) -> Document:
    price = books.fetch("price", line["pricing"]["price_details"]["price"])
    details = (line["parent"] or {}).get("subscription_item_details")
    older = {
        "plan": plan_of(price) if price["recurring"] else None,
        "price": price,
        "proration": bool(details and details["proration"]),
        "subscription_item": details["subscription_item"] if details else None,
        "type": "subscription" if details else "invoiceitem",
    }
    return _without(line, "parent", "pricing", "taxes") | older


def _payment_intent(books: Books, intent: Document) -> Document:
    return {**intent, "invoice": _invoice_of(books, intent["id"])}


def _charge(books: Books, charge: Document) -> Document:
    return {**charge, "invoice": _invoice_of(books, charge["payment_intent"])}


def _invoice_of(books: Books, intent_id: str) -> str | None:
    found = books.all("invoice_payment", Where("$.payment.payment_intent", intent_id))
    return found[0]["invoice"] if found else None


def _without(document: Document, *names: str) -> Document:
    return {name: value for name, value in document.items() if name not in names}


_CHANGES: Final[Mapping[str, Callable[[Books, Document], Document]]] = {
    "charge": _charge,
    "invoice": _invoice,
    "line_item": _line,
    "payment_intent": _payment_intent,
    "subscription": _subscription,
}
