"""Changing the items of a running subscription: what the rest of the period is worth, and when the period starts anew.

Unused time of the old price is credited and the rest of the period charged at the new one, by the second, each less
the discounts that last. A price of another interval cannot share the period: the cycle begins now, and the new price
is billed in full at once.

A subscription's `billing_mode` says what is credited: what the item costs now (`classic`), or what was billed for it
last (`flexible`). They differ after a change without prorations, and after a coupon for one invoice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from devstack.simulators.stripe import catalogue, discounts
from devstack.simulators.stripe.amounts import nearest
from devstack.simulators.stripe.books import Books, Document, Params, merge_metadata
from devstack.simulators.stripe.currencies import purchase_currency, unit_amount
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
    billed: dict[str, int]
    """What was billed for a whole period of each item, by the item's id, once these prorations are."""


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
    billed = billed_for(books, subscription)
    if behavior != "none" and subscription["status"] != "trialing":
        _expect_in_period(before, at)
        prorations += _credits(books, subscription, before, after, at, anew=anew)
        if not anew:
            worth = _discounted(books, subscription, items)
            prorations += _debits(books, subscription, before, items, at, worth)
            billed |= {one["id"]: worth[one["id"]] for one in _changed(before, items)}
    if anew:
        items = [_anew(books, item) for item in items]
    return Changed(items, prorations, anew, billed)


def credit_all(books: Books, subscription: Document) -> None:
    """The subscription ends now: what is left of its period is credited, by items that wait for an invoice."""
    _credits(books, subscription, subscription["items"]["data"], {}, books.now(), anew=False)


def billed_for(books: Books, subscription: Document) -> dict[str, int]:
    """What was last billed for a whole period of each item, less discounts, by the item's id."""
    noted: dict[str, int] = subscription.get("_billed", {})
    return _discounted(books, subscription, subscription["items"]["data"]) | noted


def _discounted(books: Books, subscription: Document, items: Sequence[Document]) -> dict[str, int]:
    """What a whole period of each item costs now, less the discounts that last, by the item's id."""
    start = min(item["current_period_start"] for item in items)
    coupons = discounts.coupons_of(books, discounts.lasting(books, subscription, start))
    currency = subscription["currency"]
    full = [unit_amount(books, item["price"], currency) * item["quantity"] for item in items]
    taken = discounts.reductions(books, coupons, full)
    off = [sum(parts) for parts in zip(*taken, strict=True)] if taken else [0] * len(full)
    return {item["id"]: amount - less for item, amount, less in zip(items, full, off, strict=True)}


def _expect_in_period(items: Sequence[Document], at: int) -> None:
    if any(not item["current_period_start"] <= at <= item["current_period_end"] for item in items):
        raise invalid("Invalid proration_date: it must be within the current period.", param="proration_date")


def _apply(books: Books, subscription: Document, items: dict[str, Document], change: Params, at: str) -> None:
    item_id = change.get("id")
    if item_id is None:
        price = _price(books, subscription, change, at)
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
        item["price"] = _price(books, subscription, change, at)
        item["plan"] = catalogue.plan_of(item["price"])
    item["quantity"] = change.get("quantity", item["quantity"])
    if "metadata" in change:
        item["metadata"] = merge_metadata(item["metadata"], change["metadata"])
    items[item_id] = item


def _price(books: Books, subscription: Document, change: Params, at: str) -> Document:
    """The price that is named, which has to be sold in the subscription's currency."""
    price = catalogue.chosen_price(books, change, at)
    purchase_currency(books, [price], subscription["currency"], None, f"{at}[price]")
    return price


def _credits(
    books: Books, subscription: Document, before: Sequence[Document], after: dict[str, Document], at: int, *, anew: bool
) -> list[Document]:
    changed = [old for old in before if anew or _worth(old) != _worth(after.get(old["id"]))]
    classic = subscription["billing_mode"]["type"] == "classic"
    worth = _discounted(books, subscription, before) if classic else billed_for(books, subscription)
    return [
        proration_item(
            books, subscription, old, _rest(old, -worth[old["id"]], at), f"Unused time on {_name(books, old)}", at
        )
        for old in changed
    ]


def _debits(
    books: Books,
    subscription: Document,
    before: Sequence[Document],
    items: Sequence[Document],
    at: int,
    worth: Mapping[str, int],
) -> list[Document]:
    return [
        proration_item(
            books, subscription, item, _rest(item, worth[item["id"]], at), f"Remaining time on {_name(books, item)}", at
        )
        for item in _changed(before, items)
    ]


def _changed(before: Sequence[Document], items: Sequence[Document]) -> list[Document]:
    """Those that are new or have another price or quantity."""
    known = {old["id"]: _worth(old) for old in before}
    return [item for item in items if known.get(item["id"]) != _worth(item)]


def _rest(item: Document, amount: int, at: int) -> int:
    """The part of an amount for the item's whole period that falls between `at` and its end."""
    start, end = item["current_period_start"], item["current_period_end"]
    return nearest(amount * max(end - at, 0), end - start)


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
