"""How a report changes a total, and what is left of a limit then.

A report is a fact: it counts though it passes the limit, and a total may stand below zero while reports of one thing
overtake each other. Neither is shown: nothing used is 0 at least, nothing left is 0 at most.

A total below zero is a credit, and only a report that was overtaken may draw on it: its thing was deleted already. For
every other creation the total is brought to 0 first, by an event of its own (`corrected`), and so it is once all that
may still come has come. Else one `deleted` of what never was would give away as much as it says.
"""

import enum
from datetime import datetime, timedelta
from typing import Final

OVERTAKEN_WITHIN: Final = timedelta(minutes=10)
"""For so long a report without a reservation may have been overtaken by the one that passed below zero."""


class UsageAction(enum.StrEnum):
    """What a panel reports."""

    CREATED = "created"
    DELETED = "deleted"
    SET = "set"
    """So many in all: a panel's full count, or a gauge such as storage_gb."""


class EventAction(enum.StrEnum):
    """What changed a total: what was reported, or a correction of ours."""

    CREATED = "created"
    DELETED = "deleted"
    SET = "set"
    CORRECTED = "corrected"
    """Brought from below zero to 0; its `count` is how many were missing."""


def total_after(used: int, action: UsageAction, count: int) -> int:
    match action:
        case UsageAction.CREATED:
            return used + count
        case UsageAction.DELETED:
            return used - count
        case UsageAction.SET:
            return count


def may_draw(*, below_since: datetime, now: datetime, is_reserved: bool, occurred_at: datetime | None) -> bool:
    """Whether what was created may be among what was deleted before its report came.

    What was made with a reservation was made after the hold, unless its report says that it was earlier.
    """
    if occurred_at is not None and occurred_at < below_since:
        return True
    return not is_reserved and now - below_since <= OVERTAKEN_WITHIN


def left(limit: int | None, used: int) -> int | None:
    """None is unlimited."""
    return None if limit is None else max(0, limit - max(0, used))


def passes(limit: int | None, used: int) -> bool:
    return limit is not None and used > limit
