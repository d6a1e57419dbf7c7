"""A batch of reports: looked up, pinned, counted, written down.

Events and totals change together, in one statement, and the events of a total are numbered in the order they changed
it. So the total always equals its events, whoever is killed when.

A batch hopes: that nobody else changes one of its totals between the reading and the writing of them, and that none
of its reports was recorded before. Nearly always that is so, and then two statements are all there is. The second says
what the first one found; where that is no longer true, or a report was recorded before, it writes nothing.

Then the batch is done once more with care: in a transaction, looking for its reports first, and with its totals locked,
in one order by everybody. So is every batch of the next moment, for who sends something twice does it more than once.

The reservation of a report is pinned before anything is locked, so that a slow Redis keeps nobody waiting for a lock. A
report that comes again is answered as it was the first time, and touches nothing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.usage import repository
from billing_api.usage.holds import Holds
from billing_api.usage.repository import ChangedTotal, KnownLicense, NewEvent, Recorded, Standing, Total
from core.clock import Clock
from core.errors import FieldError, IdempotencyMismatch, InvalidInput, NotFound, Refusal, Unavailable
from core.hotstore.writer import Hold
from core.licensing.counting import UsageAction, left, passes, total_after
from core.licensing.plan import Resource
from db.driver import Driver, SystemSessions

_ROUNDS: Final = 5
_CARE: Final = 1.0
"""Seconds."""
_BEGINNING: Final = Standing(0, 0)


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


class _InVain(Exception):
    """One of these reports may have been recorded before, or somebody else has changed a total."""


class _Fresh(NamedTuple):
    """A report that is new, and its place in the batch."""

    place: int
    report: Report
    license: KnownLicense


class Recording:
    def __init__(
        self, sessions: SystemSessions, holds: Holds, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sessions = sessions
        self._holds = holds
        self._clock = clock
        self._monotonic = monotonic
        self._careful_until = 0.0

    async def record(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """All of them or, with an exception, none. It has been committed when this returns."""
        for _ in range(_ROUNDS):
            careful = self._monotonic() < self._careful_until
            opened = self._sessions.transaction if careful else self._sessions.session
            try:
                async with opened() as driver:
                    return await self._record(driver, reports, careful=careful)
            except _InVain:
                self._careful_until = self._monotonic() + _CARE
        raise Unavailable("the same reports keep coming in on another way; try again")

    async def _record(self, driver: Driver, reports: Sequence[Report], *, careful: bool) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        asked = {(report.license_hash, report.resource) for report in reports}
        known, totals = await repository.read(driver, asked)
        fresh: list[_Fresh] = []
        for place, report in enumerate(reports):
            license_ = known.get(report.license_hash)
            if license_ is None or report.only_license not in {None, license_.id}:
                outcomes[place] = NotFound("there is no such licence")
            else:
                fresh.append(_Fresh(place, report, license_))
        names = [(each.license.id, each.report.idempotency_key) for each in fresh]
        before = await repository.recorded(driver, names) if careful and names else {}
        fresh, repeated = _sort_out(fresh, before, outcomes)
        fresh = await self._with_holds(fresh, outcomes, careful=careful)
        if fresh:
            whose: dict[Total, UUID] = {(each.license.id, each.report.resource): each.license.user_id for each in fresh}
            if begun := {total: user_id for total, user_id in whose.items() if total not in totals}:
                await repository.begin_totals(driver, begun)
            if careful:
                totals = await repository.lock_totals(driver, whose)
            await self._write(driver, fresh, whose, totals, outcomes)
        for place, first in repeated.items():
            outcomes[place] = _as_before(reports[place], reports[first], outcomes[first])
        return [outcomes[place] for place in range(len(reports))]

    async def _with_holds(self, fresh: list[_Fresh], outcomes: dict[int, Outcome], *, careful: bool) -> list[_Fresh]:
        """Those whose reservations fit, pinned. A reservation that is gone is no matter: the fact is."""
        named = [each for each in fresh if each.report.reservation_id is not None]
        holds = [
            Hold(each.report.license_hash, each.report.reservation_id or "", each.report.resource) for each in named
        ]
        for each, found in zip(named, await self._holds.pin(holds), strict=True):
            if found == "other":
                if not careful:
                    raise _InVain  # it may have been recorded while Redis was silent, and has that answer then
                detail = f"holds another resource than {each.report.resource}"
                outcomes[each.place] = InvalidInput(
                    "the reservation does not fit the report", errors=(FieldError("reservation_id", detail),)
                )
        return [each for each in fresh if each.place not in outcomes]

    async def _write(
        self,
        driver: Driver,
        fresh: Sequence[_Fresh],
        whose: Mapping[Total, UUID],
        before: Mapping[Total, Standing],
        outcomes: dict[int, Outcome],
    ) -> None:
        places = {total: place for place, total in enumerate(whose, start=1)}
        totals = {total: before.get(total, _BEGINNING) for total in whose}
        events: list[NewEvent] = []
        for place, report, license_ in fresh:
            total: Total = (license_.id, report.resource)
            last = totals[total]
            used = total_after(last.used, report.action, report.number)
            totals[total] = Standing(used, last.events + 1)
            limit = license_.limits.of(report.resource)
            is_overage = passes(limit, used)
            events.append(_event(places[total], report, totals[total], is_overage=is_overage))
            outcomes[place] = Counted(left(limit, used), is_overage)
        changed = [
            ChangedTotal(*total, user_id, *before.get(total, _BEGINNING), *totals[total])
            for total, user_id in whose.items()
        ]
        if not await repository.write(driver, events, changed, self._clock()):
            raise _InVain


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


def _event(total: int, report: Report, after: Standing, *, is_overage: bool) -> NewEvent:
    return NewEvent(
        total,
        report.action,
        report.number,
        report.idempotency_key,
        report.body_hash,
        after.used,
        after.events,
        is_overage,
        report.reservation_id,
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
