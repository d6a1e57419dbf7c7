"""Usage history use cases: for the owner, and for staff."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple
from uuid import UUID

import msgspec

from billing_api.access.permissions import Principal
from billing_api.licensing.licenses.own_repository import require
from billing_api.licensing.licenses.repository import one
from billing_api.licensing.usage_history import repository
from billing_api.licensing.usage_history.repository import States, Window
from billing_api.licensing.usage_history.schemas import (
    Step,
    UsageHistories,
    UsageHistory,
    UsagePoint,
)
from core.clock import Clock
from core.errors import FieldError, InvalidInput
from core.licensing.plan import RESOURCES, Resource
from db.reads import CustomerReads
from db.unit_of_work import Database

MOST_POINTS: Final = 750
"""Of each resource: a month by the hour, two years by the day."""
_SPAN: Final = {Step.HOUR: timedelta(hours=48), Step.DAY: timedelta(days=30)}
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
AnyHistory = UsageHistory | UsageHistories
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class HistoryQuery(NamedTuple):
    """A query; without `since` and `until`, for the last 30 days or 48 hours. Without a resource, for all of them."""

    resource: Resource | None
    by: Step
    since: str | None
    until: str | None

    @property
    def resources(self) -> Sequence[Resource]:
        return RESOURCES if self.resource is None else (self.resource,)


class UsageHistoryService:
    def __init__(self, database: Database, reads: CustomerReads, clock: Clock) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock

    async def for_owner(self, principal: Principal, license_id: UUID, query: HistoryQuery) -> AnyHistory:
        window = window_of(query, self._clock())
        names = repository.names_of(license_id, query.resources, window)
        rows = await self._reads.rows(principal.user_id, repository.OWN_HISTORY, names)
        if not rows:  # none of its usage is known, or there is no such license
            await require(self._reads, principal.user_id, license_id)
        return _history(query, window, repository.states(rows))

    async def for_staff(self, principal: Principal, license_id: UUID, query: HistoryQuery) -> AnyHistory:
        window = window_of(query, self._clock())
        async with self._database.as_staff(principal.user_id) as tx:
            await one(tx, license_id)  # 404 for an unknown license
            found = await repository.for_staff(tx, repository.names_of(license_id, query.resources, window))
        return _history(query, window, found)


def window_of(query: HistoryQuery, now: datetime) -> Window:
    """The smallest window of whole buckets that contains the requested time."""
    # 1. Read the bounds and round them outward to whole buckets.
    step = query.by.length
    try:
        until = _in_utc(query.until, "to") or now
        since = _in_utc(query.since, "from") or until - _SPAN[query.by]
        since -= (since - _EPOCH) % step
        until += (_EPOCH - until) % step
    except OverflowError:
        raise _refused("from", "must be a date between the years 1 and 9999") from None
    # 2. Check the order and the number of points.
    if until <= since:
        raise _refused("to", "must be after from")
    if (until - since) // step > MOST_POINTS:
        raise _refused("from", f"asks for more than {MOST_POINTS} points; ask for a shorter time, or by day")
    return Window(since, until, step)


def _history(query: HistoryQuery, window: Window, found: States) -> AnyHistory:
    points = {
        resource: _points(window, resource, found.before.get(resource, (0, False)), found.buckets)
        for resource in query.resources
    }
    if query.resource is None:
        return UsageHistories(query.by, points)
    return UsageHistory(query.resource, query.by, points[query.resource])


def _points(
    window: Window,
    resource: Resource,
    before: tuple[int, bool],
    buckets: Mapping[tuple[str, datetime], repository.Bucket],
) -> list[UsagePoint]:
    """Fills the gaps with the state that the bucket before them left."""
    (used, over), points = before, []
    for number in range((window.until - window.since) // window.step):
        at = window.since + number * window.step
        if bucket := buckets.get((resource, at)):
            used, over = bucket.used, bucket.ends_over
            points.append(
                UsagePoint(at, bucket.created, bucket.deleted, bucket.corrected, max(0, used), bucket.overage)
            )
        else:
            points.append(UsagePoint(at, 0, 0, 0, max(0, used), over))
    return points


def _in_utc(text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        return msgspec.convert(text, _Instant).astimezone(UTC)
    except msgspec.ValidationError:
        raise _refused(field, "must be an instant with its offset, such as 2026-03-10T00:00:00Z") from None


def _refused(field: str, detail: str) -> InvalidInput:
    return InvalidInput(f"`{field}` is wrong: it {detail}", errors=(FieldError(field, detail),))
