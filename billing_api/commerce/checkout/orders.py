"""Orders: what may be bought as it was ordered, and which field is wrong otherwise.

A file of its own because these are rules and no use case: each takes what is known and refuses what does not fit.
"""

from datetime import datetime
from typing import Final, NamedTuple

from billing_api.commerce.checkout.schemas import StartCheckout
from billing_api.commerce.plans.prices import prices
from billing_api.gateways.stripe.promotions import PromotionFacts
from core.errors import Conflict, FieldError, TrialUsed, Unprocessable
from core.licensing.state import Status
from core.money import Money
from db.reads import Record

_ENDED: Final = frozenset({Status.CANCELLED, Status.EXPIRED})


class Known(NamedTuple):
    """What our rows say about the one who orders."""

    currency: str | None
    """That of the first purchase; None before it."""
    had_trial: bool
    license_status: Status | None
    """Of the license that is to be bought again, as it is by now; None where none is named."""
    license_is_paid_for: bool


class Accepted(NamedTuple):
    """The order as it can be carried out. `currency` is None where it is the plan's own."""

    price: Money
    currency: str | None
    trial_days: int | None


def accept(order: StartCheckout, plan: Record, known: Known) -> Accepted:
    """`plan`: a row of the plan on sale. Unprocessable, TrialUsed or Conflict otherwise."""
    price = _price(order, plan, known)
    _expect_ended(order, known)
    trial_days = _trial(order, plan, known) if order.trial else None
    return Accepted(price, None if price.currency == plan.currency else price.currency, trial_days)


def expect_usable(
    order: StartCheckout, code: PromotionFacts | None, price: Money, customer_id: str, *, bought: bool, now: datetime
) -> None:
    """`bought`: whether the customer has paid for something before. Unprocessable where the code may not be used."""
    amount = price * order.quantity
    if code is None or code.customer_id not in {None, customer_id}:
        raise _refused("promotion_code", "is no code of ours; check its spelling", "unknown")
    if code.expires_at is not None and code.expires_at <= now:
        raise _refused("promotion_code", "has expired; leave it out", "expired")
    if code.is_used_up:
        raise _refused("promotion_code", "has been used as often as it may be; leave it out", "used_up")
    if not code.is_active:
        raise _refused("promotion_code", "is not valid any more; leave it out", "expired")
    if code.is_for_first_purchase and bought:
        raise _refused("promotion_code", "is for a first purchase; leave it out", "first_purchase_only")
    if code.currency not in {None, price.currency}:
        raise _refused("promotion_code", f"is for purchases in {code.currency}", "wrong_currency")
    if code.minimum is not None and (code.minimum_currency != price.currency or amount.amount < code.minimum):
        least = Money(code.minimum, code.minimum_currency or price.currency)
        raise _refused("promotion_code", f"needs a purchase of at least {least}", "too_small")


def refused_by_stripe() -> Unprocessable:
    """Stripe knows more than is checked here, or knows it later."""
    return _refused("promotion_code", "cannot be used for this purchase; leave it out", "invalid")


def _price(order: StartCheckout, plan: Record, known: Known) -> Money:
    offered = prices(plan, order.interval)
    currency = order.currency or known.currency or plan.currency
    if known.currency is not None and currency != known.currency:
        raise _refused("currency", f"must be {known.currency}, in which you have bought before", "not_one_of")
    if currency not in offered:
        sold = ", ".join(sorted(offered))
        raise _refused("currency", f"must be one in which {plan.name} is sold: {sold}", "not_one_of")
    return Money(offered[currency], currency)


def _expect_ended(order: StartCheckout, known: Known) -> None:
    if order.license_id is None:
        return
    if order.quantity > 1:
        raise _refused("quantity", "must be 1 where license_id names the license", "too_large")
    if known.license_status not in _ENDED:
        raise Conflict("this license has not ended; change or resume its subscription, or leave license_id out")
    if known.license_is_paid_for:
        raise Conflict("the subscription of this license has not ended; pay its open invoice, or cancel it first")


def _trial(order: StartCheckout, plan: Record, known: Known) -> int:
    if plan.trial_days is None:
        raise _refused("trial", f"must be false: {plan.name} has no trial", "invalid")
    if order.quantity > 1 or order.license_id is not None:
        raise _refused("trial", "is for one new license; leave it out", "invalid")
    if known.had_trial:
        raise TrialUsed("you have had a trial; order without one")
    days: int = plan.trial_days
    return days


def _refused(field: str, told: str, code: str) -> Unprocessable:
    return Unprocessable(f"{field} {told}", errors=(FieldError(field, told, code),))
