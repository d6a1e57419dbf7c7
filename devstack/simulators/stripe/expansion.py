"""`expand[]`: an id becomes its object, a left-out list is put in, along a dotted path; in lists through `data`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from devstack.simulators.journal import Where
from devstack.simulators.stripe import tax_ids
from devstack.simulators.stripe.books import Books, Document, a_list, nulls, public
from devstack.simulators.stripe.currencies import shown_options
from devstack.simulators.stripe.errors import invalid

DEEPEST: Final = 4

KIND_OF_PREFIX: Final[Mapping[str, str]] = {
    "cbtxn": "customer_balance_transaction",
    "ch": "charge",
    "cn": "credit_note",
    "cs": "checkout.session",
    "cus": "customer",
    "di": "discount",
    "du": "dispute",
    "ii": "invoiceitem",
    "in": "invoice",
    "inpay": "invoice_payment",
    "pi": "payment_intent",
    "pm": "payment_method",
    "price": "price",
    "prod": "product",
    "promo": "promotion_code",
    "re": "refund",
    "seti": "setup_intent",
    "sub": "subscription",
    "sub_sched": "subscription_schedule",
    "txi": "tax_id",
    "txn": "balance_transaction",
}
"""Stripe's ids say what they name; a coupon's alone may be any text."""


def expand(books: Books, document: Document, paths: Sequence[str]) -> Document:
    """A copy of the document to show, expanded along each of the paths."""
    shown = public(document)
    if shown.get("object") == "list":
        shown["data"] = [public(member) for member in shown["data"]]
    for path in paths:
        steps = path.split(".")
        if len(steps) > DEEPEST:
            raise invalid(f"You cannot expand more than {DEEPEST} levels of a property: {path}", param="expand")
        _walk(books, shown, steps, path)
    return shown


def _walk(books: Books, shown: Document, steps: Sequence[str], path: str) -> None:
    step, rest = steps[0], steps[1:]
    value = _resolve(books, shown, step, path)
    if value is None:
        return
    if isinstance(value, list):
        shown[step] = [_opened(books, item, step) for item in value]
        below = [item for item in shown[step] if isinstance(item, dict)]
    else:
        shown[step] = _opened(books, value, step)
        below = [shown[step]] if isinstance(shown[step], dict) else []
    for document in below if rest else ():
        _walk(books, document, rest, path)


def _resolve(books: Books, shown: Document, step: str, path: str) -> Any:
    if step in shown:
        return shown[step]
    include = _INCLUDABLE.get((shown.get("object", ""), step))
    if include is None:
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    return include(books, shown)


def _opened(books: Books, value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return public(value)
    if not isinstance(value, str):
        return value
    kind = "coupon" if step == "coupon" else KIND_OF_PREFIX.get(value.rpartition("_")[0])
    found = books.find(kind, value) if kind else None
    return public(found) if found else value


def _payments(books: Books, invoice: Document) -> Document:
    return books.page("invoice_payment", "/v1/invoice_payments", {}, Where("$.invoice", invoice["id"]))


def _refunds(books: Books, charge: Document) -> Document:
    found = books.page("refund", f"/v1/charges/{charge['id']}/refunds", {}, Where("$.charge", charge["id"]))
    return {**found, "data": [public(refund) for refund in found["data"]]}


def _line_items(books: Books, session: Document) -> Document:
    return session_line_items(books.fetch("checkout.session", session["id"]))


def session_line_items(session: Document) -> Document:
    return a_list(f"/v1/checkout/sessions/{session['id']}/line_items", session["_line_items"])


def _subscriptions(books: Books, customer: Document) -> Document:
    url = f"/v1/customers/{customer['id']}/subscriptions"
    running = [one for one in books.all("subscription", Where("$.customer", customer["id"])) if not one["ended_at"]]
    return a_list(url, [public(one) for one in running[::-1]])


def _nothing(name: str) -> Callable[[Books, Document], Document]:
    return lambda _books, customer: a_list(f"/v1/customers/{customer['id']}/{name}", [])


def _confirmation_secret(books: Books, invoice: Document) -> Document | None:
    for payment in books.all("invoice_payment", Where("$.invoice", invoice["id"])):
        intent = books.fetch("payment_intent", payment["payment"]["payment_intent"])
        return {"client_secret": intent["client_secret"], "type": "payment_intent"}
    return None


_INCLUDABLE: Final[Mapping[tuple[str, str], Callable[[Books, Document], Any]]] = {
    ("price", "currency_options"): shown_options,
    ("invoice", "payments"): _payments,
    ("invoice", "confirmation_secret"): _confirmation_secret,
    ("charge", "refunds"): _refunds,
    ("checkout.session", "line_items"): _line_items,
    ("customer", "subscriptions"): _subscriptions,
    ("customer", "sources"): _nothing("sources"),
    ("customer", "tax_ids"): lambda books, customer: tax_ids.list_all(books, {}, customer["id"]),
    ("customer", "tax"): lambda _books, _customer: {
        **nulls("ip_address location"),
        "automatic_tax": "not_collecting",
        "provider": "stripe",
    },
}
"""Left out unless asked for."""
