"""Money: an integer number of minor units and a currency; no float ever holds an amount."""

from typing import Annotated

import msgspec
from msgspec import Meta
from typing_extensions import override


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
        sign = "-" if self.amount < 0 else ""
        whole, cents = divmod(abs(self.amount), 100)
        return f"{sign}{whole}.{cents:02d} {self.currency.upper()}"

    def _same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} cannot be added or subtracted")
