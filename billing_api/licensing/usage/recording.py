"""A batch of reports: looked up, pinned, counted, written down.

Events and totals change together, in one statement, and the events of a total are numbered in the order they changed
it. So the total always equals its events, whoever is killed when.

A batch hopes: that nobody else changes one of its totals between the reading and the writing of them, and that none
of its reports was recorded before. Nearly always that is so, and then two statements are all there is. The second says
what the first one found; where that is no longer true, or a report was recorded before, it writes nothing.

Then the batch is done once more with care. Where it was overtaken, its totals are locked until it has written, in one
order by everybody. Where a report came before, they are looked for first; and so it is with all batches of the next
moment, for who sends something twice does it more than once.

The reservation of a report is pinned before anything is locked, so that a slow Redis keeps nobody waiting for a lock. A
report that comes again is answered as it was the first time, and touches nothing.

A total below zero takes the only other road: a creation that may not draw on it is preceded by a correction
(corrections.py), in the same statement.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing_api.licensing.usage import corrections, repository
from billing_api.licensing.usage.holds import Holds
from billing_api.licensing.usage.repository import (
    ChangedTotal,
    KnownLicense,
    NewEvent,
    Recorded,
    Standing,
    Total,
    Written,
)
from core.clock import Clock
from core.errors import FieldError, IdempotencyMismatch, InvalidInput, NotFound, Refusal, Unavailable
from core.hotstore.writer import Hold
from core.licensing.counting import EventAction, UsageAction, left, may_draw, passes, total_after
from core.licensing.plan import Resource
from db.driver import Driver, SystemSessions

_ROUNDS: Final = 5
_LOOKING: Final = 1.0
"""Seconds."""
_BEGINNING: Final = Standing(0, 0)
_MICROSECOND: Final = timedelta(microseconds=1)


class Report(msgspec.Struct, frozen=True, gc=False):
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


class Counted(msgspec.Struct, frozen=True, gc=False):
    remaining: int | None
    overage: bool
    replayed: bool = False


Outcome = Counted | Refusal
_Fresh = tuple[int, Report]
"""A report that is new, after its place in the batch."""


class _InVain(Exception):
    """Nothing was written, and why."""

    def __init__(self, why: Written) -> None:
        super().__init__(why)
        self.why = why


class _Tally:
    """A total while the reports about it are counted."""

    __slots__ = (
        "before", "below_since", "corrected_at", "events", "is_flagged", "limit", "place", "total", "used", "user_id"
    )  # fmt: skip

    def __init__(self, place: int, license_: KnownLicense, resource: Resource, before: Standing) -> None:
        self.place = place
        self.total = (license_.id, resource)
        self.user_id = license_.user_id
        self.limit = license_.limits.of(resource)
        self.before = before
        self.used, self.events, self.below_since, self.corrected_at = before
        self.is_flagged = before.below_since is not None or before.corrected_at is not None

    def count(self, report: Report, moment: Callable[[], datetime]) -> Counted:
        used = self.used = total_after(self.used, report.action, report.number)
        self.events += 1
        if used < 0 or self.is_flagged:
            self._flag(report.action, moment)
        return Counted(left(self.limit, used), passes(self.limit, used))

    def _flag(self, action: UsageAction, moment: Callable[[], datetime]) -> None:
        if self.used >= 0:
            self.below_since = None
        elif self.below_since is None:
            self.below_since = moment()
        if action is UsageAction.SET:
            self.corrected_at = None  # the panel's full count has put right whatever was wrong
        self.is_flagged = self.below_since is not None or self.corrected_at is not None

    def needs_correction(self, report: Report, now: datetime) -> bool:
        """Of a total below zero: whether this report may not draw on it."""
        return report.action is UsageAction.CREATED and not may_draw(
            below_since=self.below_since or now,
            now=now,
            is_reserved=report.reservation_id is not None,
            occurred_at=report.occurred_at,
        )

    def correct(self, report: Report, now: datetime) -> NewEvent:
        """The event that brings it to 0, just before this report is counted; it stands at the report's own instant."""
        key = corrections.key_of(*self.total, self.below_since or now)
        missing = -self.used
        self.used, self.below_since, self.corrected_at = 0, None, now
        self.events += 1
        self.is_flagged = True
        action, body_hash = EventAction.CORRECTED, corrections.hash_of(key)
        return (self.place, action, missing, 0, self.events, key, body_hash, False, None, report.occurred_at)

    def changed(self) -> ChangedTotal:
        before = self.before
        return ChangedTotal(
            *self.total,
            self.user_id,
            before.used,
            before.events,
            self.used,
            self.events,
            self.below_since,
            self.corrected_at,
        )


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

    async def record(self, reports: Sequence[Report]) -> Sequence[Outcome]:
        """All of them or, with an exception, none. It has been committed when this returns."""
        lock = False
        for _ in range(_ROUNDS):
            look = self._monotonic() < self._looking_until
            opened = self._sessions.transaction if lock else self._sessions.session
            try:
                async with opened() as driver:
                    return await self._record(driver, reports, look=look, lock=lock)
            except _InVain as end:
                if end.why is Written.BEFORE:
                    self._looking_until = self._monotonic() + _LOOKING
                else:
                    lock = True
        raise Unavailable("the same reports keep coming in on another way; try again")

    async def _record(self, driver: Driver, reports: Sequence[Report], *, look: bool, lock: bool) -> Sequence[Outcome]:
        known, totals = await repository.read(driver, {(report.license_hash, report.resource) for report in reports})
        outcomes: dict[int, Outcome] = {}
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
                name: _Tally(place, of, name[1], totals.get((of.id, name[1]), _BEGINNING))
                for place, (name, of) in enumerate(wanted.items(), start=1)
            }
            await self._write(driver, fresh, tallies, outcomes)
        for place, first in repeated.items():
            outcomes[place] = _as_before(reports[place], reports[first], outcomes[first])
        return [outcomes[place] for place in range(len(reports))]

    async def _with_holds(self, fresh: list[_Fresh], outcomes: dict[int, Outcome], *, look: bool) -> list[_Fresh]:
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
                    raise _InVain(Written.BEFORE)  # perhaps, while Redis was silent: then it has that answer
                outcomes[place] = InvalidInput(
                    "the reservation does not fit the report",
                    errors=(FieldError("reservation_id", f"holds another resource than {hold.resource}"),),
                )
        return [each for each in fresh if each[0] not in outcomes]

    async def _write(
        self,
        driver: Driver,
        fresh: Sequence[_Fresh],
        tallies: Mapping[tuple[bytes, Resource], _Tally],
        outcomes: dict[int, Outcome],
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
            raise _InVain(written)

    def _moment(self) -> datetime:
        """Now, and no instant twice: a correction is named by the instant at which its total passed below zero."""
        self._newest = max(self._clock(), self._newest + _MICROSECOND)
        return self._newest


async def _recorded(
    driver: Driver, reports: Sequence[Report], known: Mapping[bytes, KnownLicense]
) -> Mapping[tuple[UUID, str], Recorded]:
    """By the ids of their licenses and their keys."""
    names = [
        (known[report.license_hash].id, report.idempotency_key) for report in reports if report.license_hash in known
    ]
    return await repository.recorded(driver, names) if names else {}


def _sort_out(
    reports: Sequence[Report],
    known: Mapping[bytes, KnownLicense],
    before: Mapping[tuple[UUID, str], Recorded],
    outcomes: dict[int, Outcome],
) -> tuple[list[_Fresh], dict[int, int]]:
    """The new ones; and of those that stand twice in this batch, the place of the first. Answers the rest."""
    first: dict[tuple[bytes, str], int] = {}
    fresh: list[_Fresh] = []
    repeated: dict[int, int] = {}
    for place, report in enumerate(reports):
        license_ = known.get(report.license_hash)
        if license_ is None or (report.only_license is not None and report.only_license != license_.id):
            outcomes[place] = NotFound("there is no such licence")
        elif before and (recorded := before.get((license_.id, report.idempotency_key))):
            outcomes[place] = _again(report, license_, recorded)
        elif (earlier := first.setdefault((report.license_hash, report.idempotency_key), place)) != place:
            repeated[place] = earlier
        else:
            fresh.append((place, report))
    return fresh, repeated


def _again(report: Report, license_: KnownLicense, before: Recorded) -> Outcome:
    """The answer to a report that is recorded already."""
    if before.body_hash != report.body_hash:
        return _another_body()
    return Counted(left(license_.limits.of(before.resource), before.used_after), before.is_overage, replayed=True)


def _as_before(report: Report, first: Report, outcome: Outcome) -> Outcome:
    """The answer to a report that stands in its batch twice."""
    if report.body_hash != first.body_hash:
        return _another_body()
    return Counted(outcome.remaining, outcome.overage, replayed=True) if isinstance(outcome, Counted) else outcome


def _another_body() -> Refusal:
    return IdempotencyMismatch(
        "this Idempotency-Key was used with another report; use a new key",
        errors=(FieldError("idempotency_key", "stands for another report"),),
    )
