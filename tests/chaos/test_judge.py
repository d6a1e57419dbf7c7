"""The judge: each test falsifies a true history in one way, and the judge finds it."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chaos.calls import API, VALIDATOR, Answer, Outages
from chaos.history import GRANTED, Books, Counter, Event, History, Reservation, UsageReport
from chaos.judge import crashed, judge

DATABASES = Counter("license-1", "databases")
STORAGE = Counter("license-1", "storage_gb")
LIMIT = 2


class Story:
    """A true history, told in order: one second passes between any two things."""

    def __init__(self) -> None:
        self.history = History([], [], [])
        self.books = Books(events=[], totals={}, hot={}, limits={DATABASES: LIMIT, STORAGE: 10})
        self.now = 1000.0

    def later(self, seconds: float = 1.0) -> float:
        self.now += seconds
        return self.now

    def reserve(self, count: int = 1, ttl: float = 20) -> Reservation:
        key = f"hold-{len(self.history.reservations)}"
        held = Reservation(counter=DATABASES, key=key, count=count, ttl=ttl, sent_at=self.later(), log=[f"{key} sent"])
        held.answered_at, held.code, held.reservation_id = self.later(0.1), GRANTED, f"id of {key}"
        self.history.reservations.append(held)
        return held

    def report(self, counter: Counter, action: str, count: int, **more: Any) -> UsageReport:
        key = f"report-{len(self.history.reports)}"
        report = UsageReport(
            counter=counter, key=key, action=action, count=count, sent_at=self.later(), log=[key], **more
        )
        self.history.reports.append(report)
        self._store(report)
        report.acknowledged_at = self.later(0.1)
        return report

    def create(self, held: Reservation) -> UsageReport:
        return self.report(held.counter, "created", held.count, reservation=held)

    def delete(self, created: UsageReport) -> UsageReport:
        return self.report(created.counter, "deleted", created.count, undoes=created.key)

    def _store(self, report: UsageReport) -> None:
        used = self.books.totals.get(report.counter, 0)
        step = {"created": used + report.count, "deleted": used - report.count, "set": report.count}
        used = self.books.totals[report.counter] = self.books.hot[report.counter] = step[report.action]
        held = report.reservation
        self.books.events.append(
            Event(
                counter=report.counter,
                key=report.key,
                action=report.action,
                count=report.count,
                reservation_id=held.reservation_id if held else None,
                occurred_at=self.now,
                created_at=self.now,
                used_after=used,
                order=len(self.books.events),
            )
        )

    def alter(self, place: int, **changes: Any) -> None:
        self.books.events[place] = msgspec.structs.replace(self.books.events[place], **changes)

    def total(self, counter: Counter, used: int) -> None:
        """In both stores."""
        self.books.totals[counter] = self.books.hot[counter] = used

    @property
    def found(self) -> list[str]:
        return [violation.kind for violation in judge(self.history, self.books)]


@pytest.fixture
def story() -> Story:
    """Two of two databases are created, one is deleted, another takes its place; storage is counted."""
    story = Story()
    first, _ = story.create(story.reserve()), story.create(story.reserve())
    story.delete(first)
    story.create(story.reserve())
    story.report(STORAGE, "set", 7)
    return story


def test_a_true_history_is_found_true(story: Story) -> None:
    assert story.found == []


def an_event_twice(story: Story) -> None:
    story.books.events.insert(4, msgspec.structs.replace(story.books.events[3], used_after=3))
    story.total(DATABASES, 3)


def an_event_lost(story: Story) -> None:
    story.books.events.pop(3)
    story.total(DATABASES, 1)


def an_event_nobody_sent(story: Story) -> None:
    story.books.events.append(msgspec.structs.replace(story.books.events[3], key="nobody's", used_after=3, order=9))
    story.total(DATABASES, 3)


def an_event_of_another_content(story: Story) -> None:
    story.alter(3, reservation_id="another")


def another_instant(story: Story) -> None:
    story.history.reports[3].occurred_at = "2026-01-01T00:00:00.000Z"


def a_wrong_total(story: Story) -> None:
    story.total(DATABASES, 3)


def a_total_that_is_missing(story: Story) -> None:
    del story.books.totals[DATABASES], story.books.hot[DATABASES]


def a_wrong_total_after_a_set(story: Story) -> None:
    story.total(STORAGE, 0)


def a_wrong_place_in_the_replay(story: Story) -> None:
    story.alter(1, used_after=1)


def correct(story: Story, counter: Counter, count: int, key: str = "floor:license-1:storage_gb:now") -> None:
    """What the service does by itself."""
    used = story.books.totals[counter] + count
    last = story.books.events[-1]
    correction = msgspec.structs.replace(
        last,
        counter=counter,
        key=key,
        action="corrected",
        count=count,
        reservation_id=None,
        used_after=used,
        order=len(story.books.events),
    )
    story.books.events.append(correction)
    story.total(counter, used)


def a_correction_of_too_much(story: Story) -> None:
    story.report(STORAGE, "deleted", 9)
    correct(story, STORAGE, 3)


def a_correction_of_what_is_not_below_zero(story: Story) -> None:
    correct(story, STORAGE, 2)


def a_correction_that_a_panel_named(story: Story) -> None:
    story.report(STORAGE, "deleted", 9)
    correct(story, STORAGE, 2, key="a panel's")


def a_credit_that_was_drawn_on(story: Story) -> None:
    story.books.limits[DATABASES] = 9
    story.report(DATABASES, "deleted", 5)
    story.create(story.reserve())


def a_stale_total_in_redis(story: Story) -> None:
    story.books.hot[DATABASES] = 1


def no_total_in_redis(story: Story) -> None:
    del story.books.hot[DATABASES]


def a_refusal(story: Story) -> None:
    story.history.reports[4].refused = "422"


def no_answer(story: Story) -> None:
    story.history.reports[4].acknowledged_at = None


@pytest.mark.parametrize(
    ("falsify", "kind"),
    [
        (an_event_twice, "doubled"),
        (an_event_lost, "lost"),
        (an_event_nobody_sent, "invented"),
        (an_event_of_another_content, "altered"),
        (another_instant, "altered"),
        (a_wrong_total, "total"),
        (a_total_that_is_missing, "total"),
        (a_wrong_total_after_a_set, "total"),
        (a_wrong_place_in_the_replay, "used_after"),
        (a_stale_total_in_redis, "projection"),
        (no_total_in_redis, "projection"),
        (a_refusal, "refused"),
        (no_answer, "unanswered"),
        (a_correction_of_too_much, "correction"),
        (a_correction_of_what_is_not_below_zero, "correction"),
        (a_correction_that_a_panel_named, "invented"),
        (a_credit_that_was_drawn_on, "credit"),
    ],
)
def test_a_falsified_history_is_found_out(story: Story, falsify: Callable[[Story], None], kind: str) -> None:
    falsify(story)
    assert story.found == [kind]


def test_a_total_below_zero_is_corrected_before_what_was_reserved_is_counted() -> None:
    story = Story()
    story.report(DATABASES, "deleted", 5)
    correct(story, DATABASES, 5, key="floor:license-1:databases:now")
    story.create(story.reserve())
    assert story.found == []


def test_what_was_overtaken_may_draw_on_a_total_below_zero() -> None:
    story = Story()
    story.report(DATABASES, "deleted", 5)
    held = story.reserve()
    story.report(DATABASES, "created", 1, reservation=held, occurred_at="1970-01-01T00:00:01.000Z")
    story.alter(-1, occurred_at=1.0)
    story.report(DATABASES, "created", 1)
    assert story.found == []


def test_an_unanswered_report_may_be_stored_or_not(story: Story) -> None:
    report = story.report(STORAGE, "set", 8)
    report.acknowledged_at, report.abandoned = None, True
    assert story.found == []
    story.books.events.pop()
    story.total(STORAGE, 7)
    assert story.found == []


def test_one_more_than_the_limit(story: Story) -> None:
    story.reserve()
    [violation] = judge(story.history, story.books)
    assert violation.kind == "over-grant"
    assert "hold-0 sent" not in violation.evidence  # it was deleted before
    assert {"hold-1 sent", "hold-2 sent", "hold-3 sent"} <= set(violation.evidence)


def test_two_holds_on_the_last_one_though_neither_was_used() -> None:
    story = Story()
    story.reserve(count=2)
    story.reserve()
    assert story.found == ["over-grant"]


def test_what_ended_before_the_next_grant_occupies_nothing() -> None:
    story = Story()
    story.reserve(count=2, ttl=5)
    story.later(5)
    released = story.reserve(count=2)
    released.released_at = story.later()
    story.reserve(count=2)
    assert story.found == []


def test_a_grant_may_have_been_decided_before_its_answer_came() -> None:
    story = Story()
    early, quick = story.reserve(count=2), story.reserve(count=2, ttl=5)
    early.sent_at = quick.sent_at - 6  # tries without an answer, from before `quick` until after its hold
    early.answered_at = story.later(10)
    assert story.found == []


@pytest.mark.parametrize(("wait", "found"), [(1, ["over-grant"]), (60, [])])
def test_a_report_that_comes_when_its_hold_is_gone_is_recorded_and_excused(wait: float, found: list[str]) -> None:
    story = Story()
    held = story.reserve(count=2)
    story.later(wait)
    story.create(held)
    story.later(30)
    story.reserve()
    assert story.found == found


def test_an_event_proves_that_a_report_came_in_time_though_its_answer_was_lost() -> None:
    story = Story()
    report = story.create(story.reserve(count=2))
    report.acknowledged_at, report.abandoned = None, True
    story.later(60)
    story.reserve()
    assert story.found == ["over-grant"]


@pytest.mark.parametrize(("wait", "found"), [(50, ["granted in the pause"]), (61, [])])
def test_after_a_loss_of_holds_nothing_is_granted_until_they_are_over(wait: float, found: list[str]) -> None:
    story = Story()
    story.reserve(ttl=5)
    story.history.losses.append(story.now + 0.5)
    story.later(wait)
    story.reserve()
    assert story.found == found


def test_unlimited_is_never_passed() -> None:
    story = Story()
    story.books.limits[DATABASES] = None
    story.reserve(count=1_000_000)
    assert story.found == []


def test_an_answer_that_nobody_foresaw_is_a_violation_and_a_refusal_is_none() -> None:
    seen = {API: Outages(), VALIDATOR: Outages()}
    for status in (200, 409, 503, 0):
        seen[API].saw(Answer(status, {"code": "unavailable"} if status else "ReadError"), 1000.0)
        seen[VALIDATOR].saw(Answer(status, {}), 1000.0)
    assert list(crashed(seen)) == []
    seen[API].saw(Answer(500, {"code": "internal"}), 1001.0)
    (found,) = crashed(seen)
    assert (found.kind, found.text) == ("crashed", "billing_api answered 500 1 time")
    assert found.evidence == ['1001.000 500 {"code":"internal"}']
