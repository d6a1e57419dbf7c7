"""The history on the wire."""

import enum
from datetime import datetime, timedelta

import msgspec

from core.licensing.plan import Resource


class Step(enum.StrEnum):
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """In UTC every day has 24 hours."""
        return timedelta(hours=1) if self is Step.HOUR else timedelta(days=1)


class UsagePoint(msgspec.Struct, frozen=True):
    """`used` is what it was at the end of the bucket that begins at `at`; a full count (`set`) changes only that.

    `corrected`: how many were deleted that never had been counted; corrections brought the total back to 0.
    """

    at: datetime
    created: int
    deleted: int
    corrected: int
    used: int
    overage: bool


class UsageHistory(msgspec.Struct, frozen=True):
    """A point for each hour or day (UTC), oldest first, also where nothing happened."""

    resource: Resource
    by: Step
    points: list[UsagePoint]
