"""Money: whole minor units, one currency."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import CurrencyMismatch, Money

amounts = st.integers(-(10**12), 10**12)


@given(amounts, amounts, st.integers(-100, 100))
def test_arithmetic_is_that_of_whole_numbers(a: int, b: int, times: int) -> None:
    left, right = Money(a, "usd"), Money(b, "usd")
    assert (left + right).amount == a + b
    assert (left - right).amount == a - b
    assert (left * times).amount == a * times
    assert left + right - right == left


@given(amounts)
def test_a_text_tells_every_cent(amount: int) -> None:
    text = str(Money(amount, "usd"))
    assert text.endswith(" USD")
    whole, cents = text.removesuffix(" USD").removeprefix("-").split(".")
    assert int(whole) * 100 + int(cents) == abs(amount)
    assert text.startswith("-") == (amount < 0)


def test_currencies_do_not_mix() -> None:
    with pytest.raises(CurrencyMismatch, match="usd and eur"):
        Money(1, "usd") + Money(1, "eur")
    with pytest.raises(CurrencyMismatch):
        Money(1, "usd") - Money(1, "eur")


def test_a_float_is_no_amount() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"amount": 19.99, "currency": "usd"}', type=Money)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [(2900, "jpy", "2900 JPY"), (2900, "kwd", "2.900 KWD"), (-5, "kwd", "-0.005 KWD"), (-5, "eur", "-0.05 EUR")],
)
def test_a_currency_has_decimals_of_its_own(amount: int, currency: str, text: str) -> None:
    assert str(Money(amount, currency)) == text
