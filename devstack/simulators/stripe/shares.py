"""Rounding of money: parts of an amount that add up to it, and what Stripe does with half a cent."""

from collections.abc import Sequence


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
