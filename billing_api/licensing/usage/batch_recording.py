"""Optimistic concurrency: a batch reads totals, then writes them in one statement that does nothing if one has changed.

Events and totals change together, in that statement, and the events of a total are numbered in the order in which they
changed it. So a total always equals its events, also after a kill at any moment.

Nearly always two statements are enough. The second one names what the first one found. It writes nothing where that is
no longer true, or where a report was recorded before. Then the batch is tried again:

- Where another batch was faster, the totals are locked until this one has written, in the same order by all processes.
- Where a report came before, reports are looked up before they are written. That goes on for a second in all batches,
  because a client that sends something twice does it more than once.

The reservation of a report is pinned before anything is locked, so a slow Redis keeps nobody waiting for a lock. A
report that comes again gets the answer that it had the first time, and changes nothing.

Counting itself is in batch_counting.py, gathering the batches in batch_gathering.py.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from billing_api.licensing.usage import repository
from billing_api.licensing.usage.batch_counting import CheckedReport, Counted, Tally
from billing_api.licensing.usage.holds import Holds
from billing_api.licensing.usage.repository import (
    KnownLicense,
    NewEvent,
    Recorded,
    Total,
    TotalState,
    Written,
)
from core.clock import Clock
from core.errors import FieldError, IdempotencyMismatch, InvalidInput, NotFound, Refusal, Unavailable
from core.hotstore.writer import Hold
from core.licensing.counting import left
from core.licensing.plan import Resource
from db.driver import Driver, SystemSessions

_ROUNDS: Final = 5
_LOOKING: Final = 1.0
"""Seconds."""
_BEGINNING: Final = TotalState(0, 0)
_MICROSECOND: Final = timedelta(microseconds=1)


ReportOutcome = Counted | Refusal
_Fresh = tuple[int, CheckedReport]
"""A report that is new, after its place in the batch."""


class _NothingWritten(Exception):
    """The statement wrote nothing; `why` tells the reason."""

    def __init__(self, why: Written) -> None:
        super().__init__(why)
        self.why = why


class Recording:
    def __init__(
        self, sessions: SystemSessions, holds: Holds, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sessions = sessions
        self._holds = holds
        self._clock = clock
        self._monotonic = monotonic
        self._looking_until = 0.0
        self._newest = datetime.min.replace(tzinfo=UTC)

    async def record(self, reports: Sequence[CheckedReport]) -> Sequence[ReportOutcome]:
        """All of them or, with an exception, none. It has been committed when this returns."""
        lock = False
        for _ in range(_ROUNDS):
            look = self._monotonic() < self._looking_until
            opened = self._sessions.transaction if lock else self._sessions.session
            try:
                async with opened() as driver:
                    return await self._record(driver, reports, look=look, lock=lock)
            except _NothingWritten as end:
                if end.why is Written.BEFORE:
                    self._looking_until = self._monotonic() + _LOOKING
                else:
                    lock = True
        raise Unavailable("the same reports keep coming in on another way; try again")

    async def _record(
        self, driver: Driver, reports: Sequence[CheckedReport], *, look: bool, lock: bool
    ) -> Sequence[ReportOutcome]:
        known, totals = await repository.read(driver, {(report.license_hash, report.resource) for report in reports})
        outcomes: dict[int, ReportOutcome] = {}
        before = await _recorded(driver, reports, known) if look else {}
        fresh, repeated = _sort_out(reports, known, before, outcomes)
        fresh = await self._with_holds(fresh, outcomes, look=look)
        if fresh:
            wanted = {(report.license_hash, report.resource): known[report.license_hash] for _, report in fresh}
            whose: dict[Total, UUID] = {(of.id, resource): of.user_id for (_, resource), of in wanted.items()}
            if begun := {total: user_id for total, user_id in whose.items() if total not in totals}:
                await repository.begin_totals(driver, begun)
            if lock:
                totals = await repository.lock_totals(driver, whose)
            tallies = {
                name: Tally(place, of, name[1], totals.get((of.id, name[1]), _BEGINNING))
                for place, (name, of) in enumerate(wanted.items(), start=1)
            }
            await self._write(driver, fresh, tallies, outcomes)
        for place, first in repeated.items():
            outcomes[place] = _as_before(reports[place], reports[first], outcomes[first])
        return [outcomes[place] for place in range(len(reports))]

    async def _with_holds(self, fresh: list[_Fresh], outcomes: dict[int, ReportOutcome], *, look: bool) -> list[_Fresh]:
        """Those whose reservations fit, pinned. A reservation that is gone is no matter: the fact is."""
        named = [
            (place, Hold(report.license_hash, report.reservation_id, report.resource))
            for place, report in fresh
            if report.reservation_id is not None
        ]
        if not named:
            return fresh
        for (place, hold), found in zip(named, await self._holds.pin([hold for _, hold in named]), strict=True):
            if found == "other":
                if not look:
                    raise _NothingWritten(Written.BEFORE)  # perhaps, while Redis was silent: then it has that answer
                outcomes[place] = InvalidInput(
                    "the reservation does not fit the report",
                    errors=(FieldError("reservation_id", f"holds another resource than {hold.resource}"),),
                )
        return [each for each in fresh if each[0] not in outcomes]

    async def _write(
        self,
        driver: Driver,
        fresh: Sequence[_Fresh],
        tallies: Mapping[tuple[bytes, Resource], Tally],
        outcomes: dict[int, ReportOutcome],
    ) -> None:
        events: list[NewEvent] = []
        now = self._clock()
        for place, report in fresh:
            tally = tallies[report.license_hash, report.resource]
            if tally.used < 0 and tally.needs_correction(report, now):
                events.append(tally.correct(report, now))
            counted = outcomes[place] = tally.count(report, self._moment)
            events.append(
                (
                    tally.place,
                    report.action,
                    report.number,
                    tally.used,
                    tally.events,
                    report.idempotency_key,
                    report.body_hash,
                    counted.overage,
                    report.reservation_id,
                    report.occurred_at,
                )
            )
        changed = [tally.changed() for tally in tallies.values()]
        written = await repository.write(driver, events, changed, now)
        if written is not Written.NOW:
            raise _NothingWritten(written)

    def _moment(self) -> datetime:
        """Now, and no instant twice: a correction is named by the instant at which its total passed below zero."""
        self._newest = max(self._clock(), self._newest + _MICROSECOND)
        return self._newest


async def _recorded(
    driver: Driver, reports: Sequence[CheckedReport], known: Mapping[bytes, KnownLicense]
) -> Mapping[tuple[UUID, str], Recorded]:
    """By the ids of their licenses and their keys."""
    names = [
        (known[report.license_hash].id, report.idempotency_key) for report in reports if report.license_hash in known
    ]
    return await repository.recorded(driver, names) if names else {}


def _sort_out(
    reports: Sequence[CheckedReport],
    known: Mapping[bytes, KnownLicense],
    before: Mapping[tuple[UUID, str], Recorded],
    outcomes: dict[int, ReportOutcome],
) -> tuple[list[_Fresh], dict[int, int]]:
    """The new ones; and of those that stand twice in this batch, the place of the first. Answers the rest."""
    first: dict[tuple[bytes, str], int] = {}
    fresh: list[_Fresh] = []
    repeated: dict[int, int] = {}
    for place, report in enumerate(reports):
        license_ = known.get(report.license_hash)
        if license_ is None or (report.only_license is not None and report.only_license != license_.id):
            outcomes[place] = NotFound("there is no such license")
        elif before and (recorded := before.get((license_.id, report.idempotency_key))):
            outcomes[place] = _again(report, license_, recorded)
        elif (earlier := first.setdefault((report.license_hash, report.idempotency_key), place)) != place:
            repeated[place] = earlier
        else:
            fresh.append((place, report))
    return fresh, repeated


def _again(report: CheckedReport, license_: KnownLicense, before: Recorded) -> ReportOutcome:
    """The answer to a report that is recorded already."""
    if before.body_hash != report.body_hash:
        return _another_body()
    return Counted(left(license_.limits.of(before.resource), before.used_after), before.is_overage, replayed=True)


def _as_before(report: CheckedReport, first: CheckedReport, outcome: ReportOutcome) -> ReportOutcome:
    """The answer to a report that stands in its batch twice."""
    if report.body_hash != first.body_hash:
        return _another_body()
    return Counted(outcome.remaining, outcome.overage, replayed=True) if isinstance(outcome, Counted) else outcome


def _another_body() -> Refusal:
    return IdempotencyMismatch(
        "this Idempotency-Key was used with another report; use a new key",
        errors=(FieldError("idempotency_key", "stands for another report"),),
    )
