"""Prices of a plan by currency. A file of its own because checkout, changes and the catalog all reckon with them."""

from typing import Final, Literal

from core.errors import FieldError
from core.money import decimals
from db.models.licensing import Interval, Plan
from db.reads import Record

Currency = Literal["usd", "eur", "gbp", "jpy", "kwd"]
"""In which plans are sold."""
LEAST: Final = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "kwd": 150}
"""What a card is charged at least, in minor units: Stripe's table of minimum charge amounts."""
MOST_LICENSES: Final = 100
"""Of one subscription."""


def prices(plan: Plan | Record, interval: Interval) -> dict[str, int]:
    """What the plan costs for the interval, in minor units, by currency; its own first."""
    own: int = plan.price_monthly if interval is Interval.MONTH else plan.price_yearly
    return {plan.currency: own} | {name: amounts[interval.value] for name, amounts in plan.currency_prices.items()}


def objections(plan: Plan) -> tuple[FieldError, ...]:
    """What is wrong with the plan's prices: too little for a card, not whole, or its own currency twice."""
    found = []
    named = {"month": "price_monthly", "year": "price_yearly"}
    for interval in Interval:
        for currency, amount in prices(plan, interval).items():
            own = currency == plan.currency
            field = named[interval.value] if own else f"currency_prices.{currency}.{interval.value}"
            if amount < LEAST.get(currency, 50):
                found.append(FieldError(field, f"must be at least {LEAST.get(currency, 50)}", "too_small"))
            if decimals(currency) == 3 and amount % 10:
                found.append(FieldError(field, "must end in 0: Stripe charges two of three decimals", "not_multiple"))
    if plan.currency in plan.currency_prices:
        found.append(FieldError(f"currency_prices.{plan.currency}", "is the plan's own currency", "repeated"))
    return tuple(found)
