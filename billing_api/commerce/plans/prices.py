"""Prices of a plan by currency. A file of its own because checkout, changes and the catalog all reckon with them."""

from typing import Final

from db.models.licensing import Interval, Plan
from db.reads import Record

MOST_LICENSES: Final = 100
"""Of one subscription."""


def prices(plan: Plan | Record, interval: Interval) -> dict[str, int]:
    """What the plan costs for the interval, in minor units, by currency; its own first."""
    own: int = plan.price_monthly if interval is Interval.MONTH else plan.price_yearly
    return {plan.currency: own} | {name: amounts[interval.value] for name, amounts in plan.currency_prices.items()}
