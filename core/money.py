"""Money: an integer number of minor units and a currency; no float ever holds an amount."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta
from typing_extensions import override

_WITHOUT_MINOR_UNIT: Final = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf")
)
_IN_THOUSANDTHS: Final = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))


def decimals(currency: str) -> int:
    """How many decimal places an amount of this currency has when it is written for people: 2 for usd, 0 for jpy.

    As in Stripe's documentation of zero-decimal and three-decimal currencies, which is what amounts are sent in.
    """
    if currency in _WITHOUT_MINOR_UNIT:
        return 0
    return 3 if currency in _IN_THOUSANDTHS else 2


def figure(amount: int, currency: str, *, separator: str = "") -> str:
    """The amount in major units, `1234.50` for 123450 cents; `separator` stands between thousands."""
    places = decimals(currency)
    whole, rest = divmod(abs(amount), 10**places)
    grouped = f"{whole:,}".replace(",", separator)
    sign = "-" if amount < 0 else ""
    return f"{sign}{grouped}.{rest:0{places}d}" if places else f"{sign}{grouped}"


class CurrencyMismatch(ValueError):
    """Two amounts of different currencies were added or subtracted."""


class Money(msgspec.Struct, frozen=True, order=False):
    """An amount in minor units (cents for usd) and a lower-case ISO 4217 code, as Stripe writes both."""

    amount: Annotated[
        int, Meta(description="In minor units of the currency: cents for usd. Never a fraction.", examples=[9900])
    ]
    currency: Annotated[str, Meta(description="ISO 4217, in lower case.", examples=["usd"])]

    def __add__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def __mul__(self, times: int) -> "Money":
        return Money(self.amount * times, self.currency)

    @override
    def __str__(self) -> str:
        return f"{figure(self.amount, self.currency)} {self.currency.upper()}"

    def _same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} cannot be added or subtracted")
