"""Upgrade or downgrade: which way a change of plan goes, and when it takes effect, so that neither side loses money.

An upgrade (to a more expensive plan, or to a longer interval of the same plan) takes effect once it is paid, and not
before. Any other change takes effect at the end of the paid period, and not before: the customer has used the larger
plan until then, and gets no money back. Where plan and interval point in different directions the plan decides, because
it has the limits: a more expensive plan by the month in place of a cheaper one by the year is an upgrade.

More licenses are an upgrade and fewer are a downgrade. Plan and number may change together where both go one way.
"""

import enum
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

_MONTHS: Final = {"month": 1, "year": 12}


class Direction(enum.StrEnum):
    NONE = "none"
    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"


class Offer(msgspec.Struct, frozen=True):
    """What a customer subscribes to; `monthly` is the plan's price for a month in minor units, for any interval."""

    plan_id: UUID
    monthly: int
    interval: Literal["month", "year"]


def direction(now: Offer, wanted: Offer) -> Direction:
    if now.plan_id != wanted.plan_id:
        return Direction.UPGRADE if wanted.monthly > now.monthly else Direction.DOWNGRADE
    longer = _MONTHS[wanted.interval] - _MONTHS[now.interval]
    if longer == 0:
        return Direction.NONE
    return Direction.UPGRADE if longer > 0 else Direction.DOWNGRADE


def direction_with_number(now: Offer, wanted: Offer, number_now: int, number_wanted: int) -> Direction | None:
    """The direction of a change of plan and number of licenses together; None where they go different ways."""
    ways = {direction(now, wanted), _of_number(number_now, number_wanted)} - {Direction.NONE}
    if len(ways) > 1:
        return None
    return ways.pop() if ways else Direction.NONE


def _of_number(now: int, wanted: int) -> Direction:
    if now == wanted:
        return Direction.NONE
    return Direction.UPGRADE if wanted > now else Direction.DOWNGRADE


def is_in_force(way: Direction, *, paid: bool, plan_paid_until: datetime, now: datetime) -> bool:
    """Whether the billed offer has taken effect.

    `paid`: an invoice with a line for it has been paid. `plan_paid_until`: the end of the period that was paid for the
    plan in force.
    """
    match way:
        case Direction.UPGRADE:
            return paid
        case Direction.DOWNGRADE:
            return now >= plan_paid_until
        case Direction.NONE:
            return True
