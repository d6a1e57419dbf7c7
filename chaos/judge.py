"""Whether what the stores say is what the clients were told. Pure: tests put false histories before it.

recorded   every acknowledged report is an event, once, with the content that was sent; no event was never sent
totals     each total is the replay of its events, and each event's `used_after` the total at its place
hot        Redis says the same totals as PostgreSQL
granted    chaos.grants: no reservation was granted beyond the limit, and none in the pause after a loss
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from chaos import grants
from chaos.history import Books, Counter, Event, History, Report
from chaos.violation import Violation


def judge(history: History, books: Books) -> list[Violation]:
    return [
        *_answered(history.reports),
        *_recorded(history.reports, books.events),
        *_replayed(books),
        *_projected(books),
        *grants.beyond_the_limit(history, books),
        *grants.in_the_pause(history),
    ]


def _answered(reports: Iterable[Report]) -> Iterator[Violation]:
    """A correct report is stored sooner or later; no answer may say otherwise."""
    for report in reports:
        if report.refused is not None:
            yield Violation("refused", f"a correct report was refused: {report.refused}", report.counter, report.log)
        elif report.acknowledged_at is None and not report.abandoned:
            text = f"report {report.key} was never answered, though all parts were back"
            yield Violation("unanswered", text, report.counter, report.log)


class _Place(NamedTuple):
    license_id: str
    key: str


def _recorded(reports: Sequence[Report], events: Sequence[Event]) -> Iterator[Violation]:
    found: dict[_Place, list[Event]] = defaultdict(list)
    for event in events:
        found[_Place(event.counter.license_id, event.key)].append(event)
    for report in reports:
        mine = found.pop(_Place(report.counter.license_id, report.key), [])
        evidence = [*report.log, *(f"event: {event}" for event in mine)]
        if len(mine) > 1:
            yield Violation("doubled", f"{report.key} is {len(mine)} events", report.counter, evidence)
        if report.acknowledged_at is not None and not mine:
            yield Violation("lost", f"acknowledged report {report.key} is no event", report.counter, evidence)
        if any(not _same(report, event) for event in mine):
            yield Violation("altered", f"{report.key} is not stored as it was sent", report.counter, evidence)
    for place, foreign in found.items():
        evidence = [f"event: {event}" for event in foreign]
        yield Violation("invented", f"nobody sent {place.key}", foreign[0].counter, evidence)


def _same(report: Report, event: Event) -> bool:
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
        if not ordered and any(event.action == "set" for event in events):
            continue  # the order decides, and nobody knows it
        used = 0
        for event in sorted(events, key=lambda event: event.order or 0):
            used = after(used, event)
            if ordered and used != event.used_after:
                text = f"{event.key} says {event.used_after} were used after it; the events up to it make {used}"
                yield Violation("used_after", text, counter, [f"event: {event}"])
                break
        if used != books.totals.get(counter, 0):
            text = f"the total is {books.totals.get(counter, 0)}, {len(events)} events make {used}"
            yield Violation("total", text, counter, [f"event: {event}" for event in events[-20:]])


def after(used: int, event: Event) -> int:
    match event.action:
        case "created":
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
