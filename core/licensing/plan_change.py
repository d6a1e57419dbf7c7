"""Which way a change of plan goes, and when it counts: the rules that protect both sides' money.

An upgrade, to a dearer plan or to a longer interval of the same plan, counts as soon as it is paid and never before.
Whatever is not an upgrade counts at the end of the period that is paid for and never before: who used a big plan and
then goes down has had what was paid for, and gets no cash back. The plan alone decides where plan and interval point
apart, because limits hang on the plan: a dearer plan by the month in place of a cheaper one by the year is an upgrade.
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
    """What one subscribes to; `monthly` is the plan's price by the month in minor units, whatever the interval."""

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


def counts(way: Direction, *, paid: bool, plan_paid_until: datetime, now: datetime) -> bool:
    """Whether what is billed has become what is in force.

    `paid`: an invoice with a line for it has been paid. `plan_paid_until`: the end of what was paid for at the plan
    that is in force.
    """
    match way:
        case Direction.UPGRADE:
            return paid
        case Direction.DOWNGRADE:
            return now >= plan_paid_until
        case Direction.NONE:
            return True
