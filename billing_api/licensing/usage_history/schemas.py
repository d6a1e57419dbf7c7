"""Usage history schemas: answers as JSON."""

import enum
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from core.licensing.plan import Resource


class Step(enum.StrEnum):
    """The length of a point in a history."""

    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """In UTC every day has 24 hours."""
        return timedelta(hours=1) if self is Step.HOUR else timedelta(days=1)


class UsagePoint(msgspec.Struct, frozen=True):
    """An hour or a day of use."""

    at: Annotated[datetime, Meta(description="When the hour or day begins, UTC.", examples=["2026-03-10T00:00:00Z"])]
    created: Annotated[int, Meta(description="How many were created.", examples=[3])]
    deleted: Annotated[int, Meta(description="How many were deleted.", examples=[1])]
    corrected: Annotated[
        int,
        Meta(
            description="Deletions without a counted creation; corrections brought the total back to 0.", examples=[0]
        ),
    ]
    used: Annotated[
        int,
        Meta(description="The total at the end; a full count (`set`) changes only this field.", examples=[5]),
    ]
    overage: Annotated[bool, Meta(description="Whether a report exceeded the limit.", examples=[False])]


_POINT: Final = {
    "at": "2026-03-10T00:00:00Z",
    "created": 3,
    "deleted": 1,
    "corrected": 0,
    "used": 5,
    "overage": False,
}


class UsageHistory(msgspec.Struct, frozen=True):
    """One resource: a point for each hour or day (UTC), oldest first, also where there were no reports."""

    resource: Annotated[Resource, Meta(description="The resource that was asked for.", examples=["databases"])]
    by: Annotated[Step, Meta(description="The length of a point.", examples=["day"])]
    points: Annotated[list[UsagePoint], Meta(description="Oldest first.")]


class UsageHistories(msgspec.Struct, frozen=True):
    """All resources: for each the points of the same hours or days, oldest first."""

    by: Annotated[Step, Meta(description="The length of a point.", examples=["day"])]
    resources: Annotated[
        dict[Resource, list[UsagePoint]], Meta(description="Points by resource.", examples=[{"databases": [_POINT]}])
    ]
