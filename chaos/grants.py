"""Check of grants: proves from the clients' own log that no reservation was granted beyond its limit.

Every client reserves before it creates, and deletes nothing but what it created. (That holds for RESERVED. Reports of
emails come without reservations, and the judge checks their totals.) So each granted reservation certainly occupied its
limit from the answer that granted it

    until the first try to delete it left          where its report was recorded while the hold lived
    until the hold's end, or its release           where it was not: reported late, given up, or not known to be stored

A hold lives from some instant after the first try was sent, so "sent + ttl" is before its end. A report that comes when
the hold is gone is a fact and recorded all the same. The next grant may then pass the limit, by design, and such a lot
counts no longer than its hold. (Only what is certain counts; what is doubtful is left out.)

A reservation was decided at some instant between its first try and its answer. A lot that occupied the limit throughout
that time was there when it was decided. Together with the new one, all such lots must stay within the limit.

By design, a failover to a lagging replica may over-grant; this stack has no replica. A restarted server has another run
id, so its buckets count as missing. Holds that its append-only file may have lost are waited out: after a loss nothing
may be granted until PAUSE seconds after the last grant before it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from chaos.history import PAUSE, RESERVED, Books, Counter, Event, History, Reservation, UsageReport
from chaos.violation import Violation

_COMMITS_WITHIN = 5.0
"""Seconds between an event's `created_at`, the begin of its transaction, and its commit, at most."""


class Lot(NamedTuple):
    reservation: Reservation
    since: float
    until: float
    """It certainly occupied its limit from `since` to `until`."""
    log: Sequence[str]

    def throughout(self, other: Reservation) -> bool:
        assert other.answered_at is not None
        return self.since <= other.sent_at and self.until >= other.answered_at


def beyond_the_limit(history: History, books: Books) -> Iterator[Violation]:
    for counter, lots in _lots(history, books).items():
        limit = books.limits[counter]
        if limit is None or counter.resource not in RESERVED:
            continue
        for lot in lots:
            new = lot.reservation
            others = [other for other in lots if other is not lot and other.throughout(new)]
            occupied = sum(other.reservation.count for other in others)
            if occupied + new.count > limit:
                text = f"{new.key} was granted {new.count} with {occupied} of {limit} taken"
                evidence = [*lot.log, *(line for other in others for line in other.log)]
                yield Violation("over-grant", text, counter, evidence)


def in_the_pause(history: History) -> Iterator[Violation]:
    granted = [each for each in history.reservations if each.granted and each.answered_at is not None]
    for loss in history.losses:
        last = max((each.sent_at for each in granted if (each.answered_at or inf) < loss), default=-inf)
        for each in granted:
            if loss < each.sent_at and (each.answered_at or inf) < last + PAUSE:
                text = f"{each.key} was granted {each.sent_at - loss:.1f} s after holds were lost that may have lived"
                yield Violation("granted in the pause", text, each.counter, each.log)


def late_reports(history: History, books: Books) -> int:
    """How many reports were not certainly recorded within their hold."""
    events = _events_by_key(books)
    return sum(
        not _in_time(report, report.reservation, events.get(report.key))
        for report in history.reports
        if report.reservation is not None
    )


def _lots(history: History, books: Books) -> Mapping[Counter, list[Lot]]:
    events = _events_by_key(books)
    created = {report.reservation.key: report for report in history.reports if report.reservation is not None}
    deleted = {report.undoes: report for report in history.reports if report.undoes is not None}
    lots: dict[Counter, list[Lot]] = defaultdict(list)
    for each in history.reservations:
        if not each.granted or each.answered_at is None:
            continue
        report = created.get(each.key)
        end = deleted.get(report.key) if report else None
        lots[each.counter].append(_lot(each, report, end, events))
    return lots


def _lot(held: Reservation, report: UsageReport | None, end: UsageReport | None, events: Mapping[str, Event]) -> Lot:
    assert held.answered_at is not None
    log = [*held.log, *(report.log if report else ()), *(end.log if end else ())]
    if report is not None and _in_time(report, held, events.get(report.key)):
        return Lot(held, held.answered_at, end.sent_at if end else inf, log)
    until = min(held.ends_at, held.released_at or inf, end.sent_at if end else inf)
    return Lot(held, held.answered_at, until, log)


def _in_time(report: UsageReport, held: Reservation, event: Event | None) -> bool:
    """Whether the report was certainly recorded before its hold ended."""
    if report.acknowledged_at is not None and report.acknowledged_at <= held.ends_at:
        return True
    return event is not None and event.created_at + _COMMITS_WITHIN <= held.ends_at


def _events_by_key(books: Books) -> Mapping[str, Event]:
    return {event.key: event for event in books.events}
