"""Invoice lines and the pending invoice items that become lines: how each amount is explained."""

from collections.abc import Sequence

from core.money import figure
from devstack.simulators.journal import Where
from devstack.simulators.stripe.books import Books, Document, new_id, nulls
from devstack.simulators.stripe.currencies import unit_amount
from devstack.simulators.stripe.periods import period_after

_SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}


def money(amount: int, currency: str) -> str:
    """`$29.00`, for people: descriptions and pages."""
    sign = "-" if amount < 0 else ""
    number = figure(abs(amount), currency, separator=",")
    symbol = _SYMBOLS.get(currency)
    return f"{sign}{symbol}{number}" if symbol else f"{sign}{number} {currency.upper()}"


def rate(books: Books, price: Document, currency: str) -> str:
    """`$29.00 / month`."""
    recurring = price["recurring"]
    amount = money(unit_amount(books, price, currency), currency)
    if recurring is None:
        return amount
    count = recurring["interval_count"]
    return f"{amount} / {recurring['interval']}" if count == 1 else f"{amount} every {count} {recurring['interval']}s"


def line(
    price: Document,
    quantity: int,
    period: tuple[int, int],
    *,
    amount: int,
    currency: str,
    description: str,
    parent: Document | None = None,
    subscription: str | None = None,
) -> Document:
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": parent,
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": pricing(price),
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "subscription": subscription,
        "subtotal": amount,
        "taxes": [],
    }


def pricing(price: Document) -> Document:
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def cycle_lines(books: Books, subscription: Document) -> list[Document]:
    """One line for each item, for its current period; nothing is owed during a trial."""
    trial = subscription["status"] == "trialing"
    return [_cycle_line(books, subscription, item, trial=trial) for item in subscription["items"]["data"]]


def _cycle_line(books: Books, subscription: Document, item: Document, *, trial: bool) -> Document:
    name = books.fetch("product", item["price"]["product"]).get("name", "")
    currency, subscription_id = subscription["currency"], subscription["id"]
    at = rate(books, item["price"], currency)
    words = f"Trial period for {name}" if trial else f"{item['quantity']} × {name} (at {at})"
    return line(
        item["price"],
        item["quantity"],
        (item["current_period_start"], item["current_period_end"]),
        amount=0 if trial else unit_amount(books, item["price"], currency) * item["quantity"],
        currency=currency,
        description=words,
        parent=of_subscription_item(subscription_id, item["id"]),
        subscription=subscription_id,
    )


def of_subscription_item(subscription_id: str, item_id: str, invoice_item: str | None = None) -> Document:
    """The `parent` of a line; one with an invoice item is a proration."""
    details = {
        "invoice_item": invoice_item,
        "proration": invoice_item is not None,
        "proration_details": {"credited_items": None} if invoice_item else None,
        "subscription": subscription_id,
        "subscription_item": item_id,
    }
    return {"invoice_item_details": None, "subscription_item_details": details, "type": "subscription_item_details"}


def line_of_item(books: Books, item: Document) -> Document:
    """The invoice line that a pending invoice item becomes."""
    price = books.fetch("price", item["pricing"]["price_details"]["price"])
    subscription: str | None = None
    if item["parent"]:
        details = item["parent"]["subscription_details"]
        subscription = details["subscription"]
        parent = of_subscription_item(str(subscription), details["subscription_item"], item["id"])
    else:
        plain = {"invoice_item": item["id"], "proration": False, "proration_details": None, "subscription": None}
        parent = {"invoice_item_details": plain, "subscription_item_details": None, "type": "invoice_item_details"}
    period = (item["period"]["start"], item["period"]["end"])
    made = line(
        price,
        item["quantity"],
        period,
        amount=item["amount"],
        currency=item["currency"],
        description=item["description"] or "",
        parent=parent,
        subscription=subscription,
    )
    return {**made, "metadata": item["metadata"], "discountable": item["discountable"]}


def waiting_items(books: Books, subscription: Document) -> list[Document]:
    """The subscription's prorations that no invoice has taken up yet."""
    of_it = Where("$.parent.subscription_details.subscription", subscription["id"])
    found = books.all("invoiceitem", Where("$.customer", subscription["customer"]), of_it)
    return [item for item in found if item["invoice"] is None]


def proration_item(
    books: Books, subscription: Document, item: Document, amount: int, words: str, since: int
) -> Document:
    """A pending item for the time from `since` to the end of the current period, written and told."""
    pending = {
        "id": new_id("ii"),
        "object": "invoiceitem",
        **nulls("customer_account invoice"),
        "amount": amount,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "date": books.now(),
        "description": words,
        "discountable": False,
        "discounts": [],
        "livemode": False,
        "metadata": subscription["metadata"],
        "parent": {
            "subscription_details": {"subscription": subscription["id"], "subscription_item": item["id"]},
            "type": "subscription_details",
        },
        "period": {"end": max(item["current_period_end"], since), "start": since},
        "pricing": pricing(item["price"]),
        "proration": True,
        "proration_details": {"credited_items": None, "discount_amounts": []},
        "quantity": item["quantity"],
        "quantity_decimal": str(item["quantity"]),
        "tax_rates": [],
        "test_clock": subscription["test_clock"],
    }
    books.emit("invoiceitem.created", books.keep(pending))
    return pending


def next_period(books: Books, price: Document, anchor: int, start: int | None = None) -> tuple[int, int]:
    begin = books.now() if start is None else start
    recurring = price["recurring"]
    return begin, period_after(begin, anchor, recurring["interval"], recurring["interval_count"])


def total(lines: Sequence[Document]) -> int:
    return sum(entry["amount"] for entry in lines)


def billed_by(invoice: Document) -> dict[str, int]:
    """What an invoice for a new period bills for each item of a subscription, less discounts, by the item's id."""
    amounts = {}
    for line in invoice["lines"]["data"]:
        details = (line["parent"] or {}).get("subscription_item_details")
        if details and not details["proration"]:
            off = sum(one["amount"] for one in line["discount_amounts"])
            amounts[details["subscription_item"]] = line["amount"] - off
    return amounts
