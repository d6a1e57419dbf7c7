"""Judge: checks that the stores agree with the clients' history. Pure: tests give it false histories.

recorded   Every acknowledged report is an event, once, with the content that was sent. No event was never sent.
totals     Each total is the replay of its events, and each event's `used_after` is the total at its place.
           Corrections, which no client sends, bring only totals below zero to 0.
credit     What was created with a reservation counts from 0 at least, unless its report says that it was earlier.
hot        Redis has the same totals as PostgreSQL.
crashed    No service has answered 500.
granted    No reservation was granted beyond the limit, or in the pause after a loss (chaos/grants.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from chaos import grants
from chaos.calls import Outages
from chaos.history import Books, Counter, Event, History, UsageReport
from chaos.violation import Violation
from core.counted import counted

CORRECTED: Final = "corrected"
CORRECTIONS_BEGIN: Final = "floor:"


def judge(history: History, books: Books) -> list[Violation]:
    return [
        *_answered(history.reports),
        *_recorded(history.reports, books.events),
        *_replayed(books),
        *_drawn(history.reports, books.events),
        *_projected(books),
        *grants.beyond_the_limit(history, books),
        *grants.in_the_pause(history),
    ]


def crashed(outages: Mapping[str, Outages]) -> Iterator[Violation]:
    """A service that cannot work says so (503). 500 means that it met something it does not handle."""
    for service, seen in outages.items():
        if seen.crashes:
            text = f"{service} answered 500 {counted(len(seen.crashes), 'time')}"
            yield Violation("crashed", text, Counter("any", "any resource"), seen.crashes[:20])


def _answered(reports: Iterable[UsageReport]) -> Iterator[Violation]:
    """A correct report is stored sooner or later, and no answer may refuse it."""
    for report in reports:
        if report.refused is not None:
            yield Violation("refused", f"a correct report was refused: {report.refused}", report.counter, report.log)
        elif report.acknowledged_at is None and not report.abandoned:
            text = f"report {report.key} was never answered, though all parts were back"
            yield Violation("unanswered", text, report.counter, report.log)


class _Place(NamedTuple):
    license_id: str
    key: str


def _recorded(reports: Sequence[UsageReport], events: Sequence[Event]) -> Iterator[Violation]:
    found: dict[_Place, list[Event]] = defaultdict(list)
    for event in events:
        found[_Place(event.counter.license_id, event.key)].append(event)
    for report in reports:
        mine = found.pop(_Place(report.counter.license_id, report.key), [])
        evidence = [*report.log, *(f"event: {event}" for event in mine)]
        if len(mine) > 1:
            yield Violation("doubled", f"{report.key} is {counted(len(mine), 'event')}", report.counter, evidence)
        if report.acknowledged_at is not None and not mine:
            yield Violation("lost", f"acknowledged report {report.key} is no event", report.counter, evidence)
        if any(not _same(report, event) for event in mine):
            yield Violation("altered", f"{report.key} is not stored as it was sent", report.counter, evidence)
    for place, foreign in found.items():
        if all(event.action == CORRECTED and event.key.startswith(CORRECTIONS_BEGIN) for event in foreign):
            continue  # _replayed checks what it corrects
        evidence = [f"event: {event}" for event in foreign]
        yield Violation("invented", f"nobody sent {place.key}", foreign[0].counter, evidence)


def _same(report: UsageReport, event: Event) -> bool:
    if report.counter != event.counter or report.content != event.content:
        return False
    return report.occurred_at is None or datetime.fromisoformat(report.occurred_at).timestamp() == event.occurred_at


def _replayed(books: Books) -> Iterator[Violation]:
    of_counter: dict[Counter, list[Event]] = defaultdict(list)
    for event in books.events:
        of_counter[event.counter].append(event)
    for counter in sorted({*of_counter, *books.totals}):
        events = of_counter[counter]
        ordered = all(event.order is not None for event in events)
        if not ordered and any(event.action in ("set", CORRECTED) for event in events):
            continue  # the total depends on an order that is not known
        used = 0
        for event in sorted(events, key=lambda event: event.order or 0):
            if event.action == CORRECTED and (used >= 0 or used + event.count != 0):
                text = f"{event.key} corrects a total of {used} by {event.count}"
                yield Violation("correction", text, counter, [f"event: {event}"])
            used = after(used, event)
            if ordered and used != event.used_after:
                text = f"{event.key} says {event.used_after} were used after it; the events up to it make {used}"
                yield Violation("used_after", text, counter, [f"event: {event}"])
                break
        if used != books.totals.get(counter, 0):
            text = f"the total is {books.totals.get(counter, 0)}, {used} come from {counted(len(events), 'event')}"
            yield Violation("total", text, counter, [f"event: {event}" for event in events[-20:]])


def _drawn(reports: Iterable[UsageReport], events: Iterable[Event]) -> Iterator[Violation]:
    """A deletion that was never counted makes no room for a later creation with a reservation."""
    late = {
        _Place(report.counter.license_id, report.key): report
        for report in reports
        if report.reservation is not None and report.occurred_at is None
    }
    for event in events:
        report = late.get(_Place(event.counter.license_id, event.key))
        if report is not None and event.action == "created" and event.used_after < event.count:
            text = f"{event.key} created {event.count}, and {event.used_after} were used after it"
            yield Violation("credit", text, event.counter, [*report.log, f"event: {event}"])


def after(used: int, event: Event) -> int:
    match event.action:
        case "created" | "corrected":
            return used + event.count
        case "deleted":
            return used - event.count
        case _:
            return event.count


def _projected(books: Books) -> Iterator[Violation]:
    for counter in sorted({*books.totals, *books.hot}):
        truth, copy = books.totals.get(counter, 0), books.hot.get(counter, 0)
        if truth != copy:
            yield Violation("projection", f"Redis says {copy}, PostgreSQL {truth}", counter, [])
