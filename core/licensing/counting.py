"""How a report changes a total, and what is left of a limit then.

A report is a fact: it counts though it passes the limit, and a total may stand below zero while reports of one thing
overtake each other. Neither is shown: nothing used is 0 at least, nothing left is 0 at most.
"""

import enum


class UsageAction(enum.StrEnum):
    CREATED = "created"
    DELETED = "deleted"
    SET = "set"
    """So many in all: a panel's full count, or a gauge such as storage_gb."""


def total_after(used: int, action: UsageAction, count: int) -> int:
    match action:
        case UsageAction.CREATED:
            return used + count
        case UsageAction.DELETED:
            return used - count
        case UsageAction.SET:
            return count


def left(limit: int | None, used: int) -> int | None:
    """None is unlimited."""
    return None if limit is None else max(0, limit - max(0, used))


def passes(limit: int | None, used: int) -> bool:
    return limit is not None and used > limit
