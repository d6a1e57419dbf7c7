"""Tax (`automatic_tax`): what a customer's address and tax ids make of an amount. Prices are without it (exclusive).

| customer | percent |
|---|---|
| in Germany | 19 |
| in France, in Great Britain | 20 |
| in Japan | 10 |
| in the US, New York | 8.875 |
| elsewhere | 0 |
| with a verified EU VAT number, outside the seller's own country | 0, the customer pays it (reverse charge) |
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from devstack.simulators.stripe import tax_ids
from devstack.simulators.stripe.books import Books, Document, Params
from devstack.simulators.stripe.errors import Refused, invalid

SELLER: Final = "DE"
"""Where the seller is registered."""
_PERCENT: Final[Mapping[str, str]] = {"DE": "19", "FR": "20", "GB": "20", "JP": "10", "US-NY": "8.875"}
_EUROPEAN: Final = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)
_NO_LOCATION: Final = (
    "The customer's location isn't recognized. Set a valid customer address in order to automatically calculate tax."
)


class Rate(NamedTuple):
    percent: Decimal
    reason: str
    """Stripe's `taxability_reason`."""


def rate_for(books: Books, customer: Document) -> Rate | None:
    """None where the customer has no address, so that nothing can be said."""
    address = customer["address"] or {}
    country = address.get("country")
    if not country:
        return None
    if customer["tax_exempt"] == "exempt":
        return Rate(Decimal(0), "customer_exempt")
    if customer["tax_exempt"] == "reverse" or _pays_itself(books, customer, country):
        return Rate(Decimal(0), "reverse_charge")
    percent = _PERCENT.get(country) or _PERCENT.get(f"{country}-{address.get('state')}")
    return Rate(Decimal(percent), "standard_rated") if percent else Rate(Decimal(0), "not_collecting")


def _pays_itself(books: Books, customer: Document, country: str) -> bool:
    if country == SELLER or country not in _EUROPEAN:
        return False
    return any(one["type"] == "eu_vat" for one in tax_ids.of_customer(books, customer["id"]))


def amount_of(net: int, rate: Rate) -> int:
    """The tax on a line, to the nearest unit; half a cent goes up."""
    return int((Decimal(net) * rate.percent / 100).quantize(Decimal(1), ROUND_HALF_UP))


def tax_lines(lines: Sequence[Document], rate: Rate | None) -> None:
    """Write each line's tax on it, by what it costs after its discounts."""
    for entry in lines:
        net = entry["amount"] - sum(one["amount"] for one in entry["discount_amounts"])
        entry["taxes"] = [entry_of(net, rate)] if rate else []


def entry_of(net: int, rate: Rate, amount: int | None = None) -> Document:
    return {
        "amount": amount_of(net, rate) if amount is None else amount,
        "tax_behavior": "exclusive",
        "tax_rate_details": None,
        "taxability_reason": rate.reason,
        "taxable_amount": net,
        "type": "tax_rate_details",
    }


def together(entries: Sequence[Document]) -> list[Document]:
    """The taxes of all lines as one entry, which has the reason of the first."""
    if not entries:
        return []
    sums = {name: sum(entry[name] for entry in entries) for name in ("amount", "taxable_amount")}
    return [{**entries[0], **sums}]


def wanted(params: Params) -> bool:
    return bool(params.get("automatic_tax", {}).get("enabled"))


def expect_location(books: Books, customer: Document) -> None:
    if rate_for(books, customer) is None:
        raise location_missing()


def location_missing() -> Refused:
    return invalid(_NO_LOCATION, code="customer_tax_location_invalid")
