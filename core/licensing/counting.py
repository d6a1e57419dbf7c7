"""Usage counting: how a report changes a total, and what is left of the limit then.

A report is a fact: it counts even over the limit, and a total may be below zero while the report of a creation comes
after the report of the deletion. Customers see neither: used is shown as 0 at least, and so is what is left.

A total below zero is a credit. Only the late report of something that was already deleted may use it up. Before every
other creation the total is raised to 0, by an event of its own (`corrected`); the same happens once no late report can
come any more. Otherwise a `deleted` for something that never existed would give that much away.
"""

import enum
from datetime import datetime, timedelta
from typing import Final

OVERTAKEN_WITHIN: Final = timedelta(minutes=10)
"""How late the report of a creation without a reservation may come after the report of its deletion."""


class UsageAction(enum.StrEnum):
    """What a panel reports."""

    CREATED = "created"
    DELETED = "deleted"
    SET = "set"
    """The number in total: a panel's full count, or a gauge such as storage_gb."""


class EventAction(enum.StrEnum):
    """What changed a total: a report, or a correction of ours."""

    CREATED = "created"
    DELETED = "deleted"
    SET = "set"
    CORRECTED = "corrected"
    """Raised from below zero to 0; `count` is by how much."""


def total_after(used: int, action: UsageAction, count: int) -> int:
    match action:
        case UsageAction.CREATED:
            return used + count
        case UsageAction.DELETED:
            return used - count
        case UsageAction.SET:
            return count


def may_draw(*, below_since: datetime, now: datetime, is_reserved: bool, occurred_at: datetime | None) -> bool:
    """Whether a creation may be one whose deletion was reported before it.

    With a reservation the creation came after the hold, unless its report says that it was earlier.
    """
    if occurred_at is not None and occurred_at < below_since:
        return True
    return not is_reserved and now - below_since <= OVERTAKEN_WITHIN


def left(limit: int | None, used: int) -> int | None:
    """None is unlimited."""
    return None if limit is None else max(0, limit - max(0, used))


def exceeds(limit: int | None, used: int) -> bool:
    return limit is not None and used > limit
