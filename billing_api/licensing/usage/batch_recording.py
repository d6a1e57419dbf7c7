"""Optimistic concurrency: a batch reads totals, then writes them in one statement that does nothing if one has changed.

Events and totals change together, in that statement, and the events of a total are numbered in the order in which they
changed it. So a total always equals its events, also after a kill at any moment.

Nearly always two statements are enough. The second one compares the totals with what the first one read. It writes
nothing if a total has changed, or if a report was recorded before. Then the batch is retried:

- If another batch was faster, the retry locks the totals first, in the same order in all processes.
- If a report was recorded before, the retry looks reports up before it writes. All batches of the next second do the
  same, because a client that repeats one report usually repeats several.

Reservations are pinned before any row is locked, so a slow Redis does not extend a lock. A repeated report gets the
same answer as the first time, and changes nothing.

Counting is in batch_counting.py, gathering of batches in batch_gathering.py.
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
"""The place of a new report in the batch, and the report."""


class _NothingWritten(Exception):
    """The statement wrote nothing; `why` is the reason."""

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
        """Records all of them or, with an exception, none. They are committed when this returns."""
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
        raise Unavailable("other requests keep recording the same reports or totals; try again")

    async def _record(
        self, driver: Driver, reports: Sequence[CheckedReport], *, look: bool, lock: bool
    ) -> Sequence[ReportOutcome]:
        # 1. Read licenses and totals; sort out reports that are unknown, repeated or recorded before.
        known, totals = await repository.read(driver, {(report.license_hash, report.resource) for report in reports})
        outcomes: dict[int, ReportOutcome] = {}
        before = await _recorded(driver, reports, known) if look else {}
        fresh, repeated = _classify(reports, known, before, outcomes)
        # 2. Pin the reservations that reports name.
        fresh = await self._with_holds(fresh, outcomes, look=look)
        # 3. Count the new reports and write them, on totals that exist and, in a retry, are locked.
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
        # 4. A report that is in this batch twice gets the answer of its first place.
        for place, first in repeated.items():
            outcomes[place] = _repeated(reports[place], reports[first], outcomes[first])
        return [outcomes[place] for place in range(len(reports))]

    async def _with_holds(self, fresh: list[_Fresh], outcomes: dict[int, ReportOutcome], *, look: bool) -> list[_Fresh]:
        """Pins reservations; returns the reports they fit. A report whose reservation is gone is kept as well."""
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
                    # It may have been recorded before, while Redis was away: then it gets that answer.
                    raise _NothingWritten(Written.BEFORE)
                outcomes[place] = InvalidInput(
                    "the reservation is for another resource; send its own reservation_id, or none",
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
        # 1. Count: an event for each report, and a correction before it where one is needed.
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
        # 2. Write events and totals, if no total has changed since it was read.
        changed = [tally.changed() for tally in tallies.values()]
        written = await repository.write(driver, events, changed, now)
        if written is not Written.NOW:
            raise _NothingWritten(written)

    def _moment(self) -> datetime:
        """Now, but never the same instant twice: a correction's key contains the instant its total fell below zero."""
        self._newest = max(self._clock(), self._newest + _MICROSECOND)
        return self._newest


async def _recorded(
    driver: Driver, reports: Sequence[CheckedReport], known: Mapping[bytes, KnownLicense]
) -> Mapping[tuple[UUID, str], Recorded]:
    """Reports that are recorded already, by license id and idempotency key."""
    names = [
        (known[report.license_hash].id, report.idempotency_key) for report in reports if report.license_hash in known
    ]
    return await repository.recorded(driver, names) if names else {}


def _classify(
    reports: Sequence[CheckedReport],
    known: Mapping[bytes, KnownLicense],
    before: Mapping[tuple[UUID, str], Recorded],
    outcomes: dict[int, ReportOutcome],
) -> tuple[list[_Fresh], dict[int, int]]:
    """The new reports, and for each repetition within the batch the place of the first. Answers all others."""
    first: dict[tuple[bytes, str], int] = {}
    fresh: list[_Fresh] = []
    repeated: dict[int, int] = {}
    for place, report in enumerate(reports):
        license_ = known.get(report.license_hash)
        if license_ is None or (report.only_license is not None and report.only_license != license_.id):
            outcomes[place] = NotFound("there is no such license; check the license key")
        elif before and (recorded := before.get((license_.id, report.idempotency_key))):
            outcomes[place] = _replayed(report, license_, recorded)
        elif (earlier := first.setdefault((report.license_hash, report.idempotency_key), place)) != place:
            repeated[place] = earlier
        else:
            fresh.append((place, report))
    return fresh, repeated


def _replayed(report: CheckedReport, license_: KnownLicense, before: Recorded) -> ReportOutcome:
    """The answer to a report that is recorded already."""
    if before.body_hash != report.body_hash:
        return _another_body()
    return Counted(left(license_.limits.of(before.resource), before.used_after), before.is_overage, replayed=True)


def _repeated(report: CheckedReport, first: CheckedReport, outcome: ReportOutcome) -> ReportOutcome:
    """The answer to a report that is in its batch twice."""
    if report.body_hash != first.body_hash:
        return _another_body()
    return Counted(outcome.remaining, outcome.overage, replayed=True) if isinstance(outcome, Counted) else outcome


def _another_body() -> Refusal:
    return IdempotencyMismatch(
        "this Idempotency-Key was used with another report; use a new key",
        errors=(FieldError("idempotency_key", "was used with another report"),),
    )
