"""Prices in several currencies (`currency_options`), and which currency a purchase is in.

A customer keeps to one currency: that of the first subscription. A price is shown with its own currency everywhere;
what is billed is its amount in the currency of the session, subscription or invoice.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from devstack.simulators.stripe.amounts import expect_whole
from devstack.simulators.stripe.books import Books, Document, Params, nulls
from devstack.simulators.stripe.errors import invalid, not_simulated

_OPTIONS: Final = "_currency_options"
"""Kept beside the price, because the price itself is copied into whatever is sold at it."""


def keep_options(books: Books, price: Document, params: Params) -> None:
    """Write the amounts in other currencies that a price is created or updated with."""
    given = _options_of(params)
    if given:
        books.keep({"object": _OPTIONS, "id": price["id"], "amounts": {**_amounts(books, price), **given}})


def _options_of(params: Params) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for currency, option in (params.get("currency_options") or {}).items():
        at = f"currency_options[{currency}][unit_amount]"
        not_simulated(option, "custom_unit_amount tiers unit_amount_decimal")
        if "unit_amount" not in option:
            raise invalid(f"Missing required param: {at}.", param=at, code="parameter_missing")
        expect_whole(option["unit_amount"], currency.lower(), at)
        amounts[currency.lower()] = option["unit_amount"]
    return amounts


def shown_options(books: Books, price: Document) -> Document:
    """What `expand[]=currency_options` puts in: each currency, the price's own too."""
    amounts = {price["currency"]: price["unit_amount"], **_amounts(books, price)}
    return {
        currency: {
            **nulls("custom_unit_amount"),
            "tax_behavior": price["tax_behavior"],
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        for currency, amount in amounts.items()
    }


def unit_amount(books: Books, price: Document, currency: str) -> int:
    """The price of one in this currency. The price has to have it: `purchase_currency` has looked."""
    if price["currency"] == currency:
        return int(price["unit_amount"] or 0)
    return _amounts(books, price)[currency]


def purchase_currency(
    books: Books, prices: Sequence[Document], wanted: str | None, customer: Document | None, param: str
) -> str:
    """The currency of a purchase: the one asked for, else the customer's, else that of the prices."""
    kept = customer["currency"] if customer else None
    own = {price["currency"] for price in prices}
    if len(own) > 1 and not (wanted or kept):
        raise invalid("All prices on a subscription must have the same currency.", param=param)
    currency: str = (wanted or kept or min(own)).lower()
    if kept and currency != kept:
        raise invalid(
            "You cannot combine currencies on a single customer. This customer has had a subscription, coupon, or"
            f" invoice item with currency {kept}.",
            param="currency",
        )
    for price in prices:
        if currency != price["currency"] and currency not in _amounts(books, price):
            raise invalid(
                f"The price specified only supports `{price['currency']}`. This doesn't match the expected currency:"
                f" `{currency}`.",
                param=param,
            )
    return currency


def _amounts(books: Books, price: Document) -> Mapping[str, int]:
    kept = books.find(_OPTIONS, price["id"])
    return kept["amounts"] if kept else {}
