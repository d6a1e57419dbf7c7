"""Changing the items of a running subscription: what the rest of the period is worth, and when the period starts anew.

Unused time of the old price is credited and the rest of the period charged at the new one, by the second. A price of
another interval cannot share the period: the cycle begins now, and the new price is billed in full at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from devstack.simulators.stripe import catalogue
from devstack.simulators.stripe.books import Books, Document, Params, merge_metadata
from devstack.simulators.stripe.errors import invalid, no_such, not_simulated
from devstack.simulators.stripe.lines import next_period, proration_item
from devstack.simulators.stripe.subscribing import make_item

_NOT_SIMULATED: Final = "plan tax_rates discounts billing_thresholds current_trial clear_usage"


@dataclass(frozen=True)
class Changed:
    """The items as they are to be, the prorations that the change made, and whether a new cycle has begun."""

    items: list[Document]
    prorations: list[Document]
    anew: bool


def change_items(
    books: Books, subscription: Document, wanted: Sequence[Params], behavior: str, at: int, *, reset: bool = False
) -> Changed:
    """Nothing is written but the pending items for the prorations."""
    before: list[Document] = subscription["items"]["data"]
    after = {item["id"]: item for item in before}
    for position, change in enumerate(wanted):
        not_simulated(change, _NOT_SIMULATED)
        _apply(books, subscription, after, change, f"items[{position}]")
    if not after:
        raise invalid("A subscription must have at least one active plan.", param="items")
    items = list(after.values())
    anew = reset or any(
        interval_of(item["price"]) != interval_of(old["price"])
        for item in items
        for old in before
        if old["id"] == item["id"]
    )
    prorations: list[Document] = []
    if behavior != "none" and subscription["status"] != "trialing":
        prorations += _credits(books, subscription, before, after, at, anew=anew)
        prorations += [] if anew else _debits(books, subscription, before, items, at)
    if anew:
        items = [_anew(books, item) for item in items]
    return Changed(items, prorations, anew)


def _apply(books: Books, subscription: Document, items: dict[str, Document], change: Params, at: str) -> None:
    item_id = change.get("id")
    if item_id is None:
        price = catalogue.chosen_price(books, change, at)
        first = subscription["items"]["data"][0]
        period = (first["current_period_start"], first["current_period_end"])
        metadata = change.get("metadata") or {}
        made = make_item(books, subscription["id"], price, change.get("quantity", 1), metadata, period)
        items[made["id"]] = made
        return
    if item_id not in items:
        raise no_such("subscription_item", item_id, f"{at}[id]")
    if change.get("deleted"):
        del items[item_id]
        return
    item = dict(items[item_id])
    if "price" in change or "price_data" in change:
        item["price"] = catalogue.chosen_price(books, change, at)
        item["plan"] = catalogue.plan_of(item["price"])
    item["quantity"] = change.get("quantity", item["quantity"])
    if "metadata" in change:
        item["metadata"] = merge_metadata(item["metadata"], change["metadata"])
    items[item_id] = item


def _credits(
    books: Books, subscription: Document, before: Sequence[Document], after: dict[str, Document], at: int, *, anew: bool
) -> list[Document]:
    changed = [old for old in before if anew or _worth(old) != _worth(after.get(old["id"]))]
    return [
        proration_item(books, subscription, old, -_rest(old, at), f"Unused time on {_name(books, old)}")
        for old in changed
    ]


def _debits(
    books: Books, subscription: Document, before: Sequence[Document], items: Sequence[Document], at: int
) -> list[Document]:
    known = {old["id"]: _worth(old) for old in before}
    changed = [item for item in items if known.get(item["id"]) != _worth(item)]
    return [
        proration_item(books, subscription, item, _rest(item, at), f"Remaining time on {_name(books, item)}")
        for item in changed
    ]


def _rest(item: Document, at: int) -> int:
    """What the item costs from `at` to the end of its period, to the nearest unit."""
    start, end = item["current_period_start"], item["current_period_end"]
    full = item["price"]["unit_amount"] * item["quantity"]
    span = end - start
    return int((full * max(end - at, 0) * 2 + span) // (span * 2))


def _anew(books: Books, item: Document) -> Document:
    start, end = next_period(books, item["price"], books.now())
    return {**item, "current_period_start": start, "current_period_end": end}


def _worth(item: Document | None) -> tuple[str, int] | None:
    return (item["price"]["id"], item["quantity"]) if item else None


def interval_of(price: Document) -> tuple[str, int]:
    recurring = price["recurring"]
    return recurring["interval"], recurring["interval_count"]


def _name(books: Books, item: Document) -> str:
    return f"{item['quantity']} × {books.fetch('product', item['price']['product']).get('name', '')}"
