"""A batch of reports in one transaction: looked up, pinned, counted, written, committed.

Events and totals change together, under the totals' row locks, and the events of a total are numbered in the order they
changed it. So the total always equals its events, whoever is killed when.

The order of things: the reservation of a report is pinned before anything is locked, so that a slow Redis keeps nobody
waiting for a lock. Then the totals are locked, in one order by everybody, and the events are inserted.

A report that comes again is answered as it was the first time, and touches nothing. That it does come again is found
out by inserting it: nearly every report is new, and looking first would be one more wait for the server in each batch.
Where one was recorded before our sums are wrong, so everything is rolled back and done once more, looking first. Who
sends something twice does it more than once, so for a moment after that every batch looks first.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.usage import repository
from billing_api.usage.holds import Holds
from billing_api.usage.repository import KnownLicense, NewEvent, Recorded, Standing, Total
from core.clock import Clock
from core.errors import FieldError, IdempotencyMismatch, InvalidInput, NotFound, Refusal, Unavailable
from core.hotstore.writer import Hold
from core.ids import new_ids
from core.licensing.counting import UsageAction, left, passes, total_after
from core.licensing.plan import Resource
from db.unit_of_work import Database, Driver

_ROUNDS: Final = 5
_LOOKING_FIRST: Final = 1.0
"""Seconds."""


class Report(NamedTuple):
    """A report that has been read: what happened to which licence, and who may say so."""

    license_hash: bytes
    only_license: UUID | None
    """The one licence that the signer speaks for; None is the platform."""
    resource: Resource
    action: UsageAction
    number: int
    idempotency_key: str
    body_hash: bytes
    reservation_id: str | None
    occurred_at: datetime | None


class Counted(NamedTuple):
    remaining: int | None
    overage: bool
    replayed: bool = False


Outcome = Counted | Refusal


class _MustLook(Exception):
    """One of these reports may have been recorded before."""


class _Fresh(NamedTuple):
    """A report that is new, and its place in the batch."""

    place: int
    report: Report
    license: KnownLicense


class Recording:
    def __init__(
        self, database: Database, holds: Holds, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._holds = holds
        self._clock = clock
        self._monotonic = monotonic
        self._look_first_until = 0.0

    async def record(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """All of them or, with an exception, none. It has been committed when this returns."""
        for _ in range(_ROUNDS):
            look_first = self._monotonic() < self._look_first_until
            try:
                async with self._database.driver_as_system() as driver:
                    return await self._record(driver, reports, look_first=look_first)
            except _MustLook:
                self._look_first_until = self._monotonic() + _LOOKING_FIRST
        raise Unavailable("the same reports keep coming in on another way; try again")

    async def _record(self, driver: Driver, reports: Sequence[Report], *, look_first: bool) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        known = await repository.licenses(driver, {report.license_hash for report in reports})
        asked: list[_Fresh] = []
        for place, report in enumerate(reports):
            license_ = known.get(report.license_hash)
            if license_ is None or report.only_license not in {None, license_.id}:
                outcomes[place] = NotFound("there is no such licence")
            else:
                asked.append(_Fresh(place, report, license_))
        if asked:
            names = [(each.license.id, each.report.idempotency_key) for each in asked]
            before = await repository.recorded(driver, names) if look_first else {}
            fresh, repeated = _sort_out(asked, before, outcomes)
            fresh = await self._with_holds(fresh, outcomes, look_first=look_first)
            if fresh:
                await self._write(driver, fresh, outcomes)
            for place, first in repeated.items():
                outcomes[place] = _as_before(reports[place], reports[first], outcomes[first])
        return [outcomes[place] for place in range(len(reports))]

    async def _with_holds(self, fresh: list[_Fresh], outcomes: dict[int, Outcome], *, look_first: bool) -> list[_Fresh]:
        """Those whose reservations fit, pinned. A reservation that is gone is no matter: the fact is."""
        named = [each for each in fresh if each.report.reservation_id is not None]
        holds = [
            Hold(each.report.license_hash, each.report.reservation_id or "", each.report.resource) for each in named
        ]
        for each, found in zip(named, await self._holds.pin(holds), strict=True):
            if found == "other":
                if not look_first:
                    raise _MustLook  # it may have been recorded while Redis was silent, and has that answer then
                detail = f"holds another resource than {each.report.resource}"
                outcomes[each.place] = InvalidInput(
                    "the reservation does not fit the report", errors=(FieldError("reservation_id", detail),)
                )
        return [each for each in fresh if each.place not in outcomes]

    async def _write(self, driver: Driver, fresh: Sequence[_Fresh], outcomes: dict[int, Outcome]) -> None:
        whose: dict[Total, UUID] = {(each.license.id, each.report.resource): each.license.user_id for each in fresh}
        places = {total: place for place, total in enumerate(whose, start=1)}
        totals = await repository.lock_totals(driver, whose)
        events: list[NewEvent] = []
        for event_id, (place, report, license_) in zip(new_ids(len(fresh)), fresh, strict=True):
            total: Total = (license_.id, report.resource)
            before = totals[total]
            used = total_after(before.used, report.action, report.number)
            after = totals[total] = Standing(used, before.events + 1)
            limit = license_.limits.of(report.resource)
            is_overage = passes(limit, used)
            events.append(_event(event_id, places[total], report, after, is_overage=is_overage))
            outcomes[place] = Counted(left(limit, used), is_overage)
        if await repository.write(driver, events, totals, whose, self._clock()) < len(events):
            raise _MustLook


def _sort_out(
    asked: Sequence[_Fresh], before: Mapping[tuple[UUID, str], Recorded], outcomes: dict[int, Outcome]
) -> tuple[list[_Fresh], dict[int, int]]:
    """The new ones; and of those that stand twice in this batch, the place of the first. Answers the rest."""
    first: dict[tuple[UUID, str], int] = {}
    fresh: list[_Fresh] = []
    repeated: dict[int, int] = {}
    for each in asked:
        name = (each.license.id, each.report.idempotency_key)
        if name in before:
            outcomes[each.place] = _again(each, before[name])
        elif name in first:
            repeated[each.place] = first[name]
        else:
            first[name] = each.place
            fresh.append(each)
    return fresh, repeated


def _event(event_id: UUID, total: int, report: Report, after: Standing, *, is_overage: bool) -> NewEvent:
    return NewEvent(
        event_id,
        total,
        report.action,
        report.number,
        report.idempotency_key,
        report.body_hash,
        report.reservation_id,
        after.used,
        after.events,
        is_overage,
        report.occurred_at,
    )


def _again(each: _Fresh, before: Recorded) -> Outcome:
    """The answer to a report that is recorded already."""
    if before.body_hash != each.report.body_hash:
        return _another_body()
    limit = each.license.limits.of(before.resource)
    return Counted(left(limit, before.used_after), before.is_overage, replayed=True)


def _as_before(report: Report, first: Report, outcome: Outcome) -> Outcome:
    """The answer to a report that stands in its batch twice."""
    if report.body_hash != first.body_hash:
        return _another_body()
    return outcome._replace(replayed=True) if isinstance(outcome, Counted) else outcome


def _another_body() -> Refusal:
    return IdempotencyMismatch(
        "this Idempotency-Key was used with another report; use a new key",
        errors=(FieldError("idempotency_key", "stands for another report"),),
    )
