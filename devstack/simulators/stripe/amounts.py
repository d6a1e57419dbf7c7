"""Amounts: how Stripe rounds and spreads them, the least that it charges, and what each currency allows."""

from collections.abc import Mapping, Sequence
from typing import Final

from core.money import decimals, figure
from devstack.simulators.stripe.errors import invalid

LEAST_CHARGE: Final[Mapping[str, int]] = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
"""In minor units. Other currencies have no least here."""


def too_small(amount: int, currency: str) -> bool:
    """Whether something is owed, and too little to charge it."""
    return 0 < amount < LEAST_CHARGE.get(currency, 1)


def expect_chargeable(amount: int, currency: str, param: str) -> None:
    """Refuses an amount that no card is charged with."""
    least = LEAST_CHARGE.get(currency, 1)
    if amount < least:
        written = figure(least, currency)
        raise invalid(f"Amount must be at least {written} {currency}", param=param, code="amount_too_small")
    expect_whole(amount, currency, param)


def expect_whole(amount: int, currency: str, param: str) -> None:
    """Refuses thousandths that are no whole hundredths: cards are not charged so finely."""
    if decimals(currency) == 3 and amount % 10:
        raise invalid(
            f"Invalid amount for {currency}: the last digit of an amount with three decimals must be 0.", param=param
        )


def nearest(numerator: int, denominator: int) -> int:
    """The quotient to the nearest unit. Exact halves go down: 4.5 is 4, and -2.5 is -3.

    Stripe does not document this; it was recorded from prorations that Stripe billed. `denominator` is positive.
    """
    return -((denominator - 2 * numerator) // (2 * denominator))


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts of `amount` in proportion to `weights`, rounded down, and what that leaves over to the last part.

    So Stripe spreads an `amount_off` over the lines of an invoice: 5.00 over 10.00 and 20.00 is 1.66 and 3.34.
    """
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [amount * weight // whole for weight in weights]
    last = max(position for position, weight in enumerate(weights) if weight)
    parts[last] += amount - sum(parts)
    return parts
