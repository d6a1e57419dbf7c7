"""Usage history schemas: answers as JSON."""

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
    """`used`: the total at the end of the bucket that begins at `at`. A full count (`set`) changes only this field.

    `corrected`: how many deletions had no counted creation; corrections brought the total back to 0.
    """

    at: datetime
    created: int
    deleted: int
    corrected: int
    used: int
    overage: bool


class UsageHistory(msgspec.Struct, frozen=True):
    """A point for each hour or day (UTC), oldest first, also where there were no reports."""

    resource: Resource
    by: Step
    points: list[UsagePoint]
