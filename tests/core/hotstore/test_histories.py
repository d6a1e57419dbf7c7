"""State machine test: in every history of grants, reports, crashes, delays and losses no limit is passed.

`_Truth` is what Postgres would say, and what its relay has still to do. Each step is done with the functions and with
their model (books.py), and both must answer alike. Anything can be late: time passes, rows wait, a validator knows an
old `synced_through`. Totals arrive again and in the wrong order. A relay dies before its commit. Redis is silent when a
hold is to be pinned, or loses its data. Panels report deletions of things that never existed. The two clocks differ by
as much as HOLD_MARGIN allows.

The histories are the same in every run. A failure prints the history, as short as possible, and how to run it again.
`make histories` tries thousands of others, new ones each time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.licensing.counting import OVERTAKEN_WITHIN, UsageAction, may_draw, total_after
from core.licensing.plan import Resource
from tests.core.hotstore.books import LONGEST_HOLD, MARGIN, REPORT, Ask, Copy, Limits, Lots, Total
from tests.core.hotstore.hot import Hot

NAMES: Final = st.sampled_from(["a", "b", "c", "d"])
RESERVED: Final = st.sampled_from(["databases", "databases", "domains", "emails"])
LIMITS: Final = st.fixed_dictionaries(
    {"databases": st.integers(0, 3), "emails": st.none()}, optional={"domains": st.integers(0, 2) | st.none()}
)
PERIODS: Final = st.sampled_from(
    [1, 999, 1_000, 1_001, 4_000, 5_000, 5_001, 6_000, 60_000, 61_000, 329_999, 330_000, 600_001, 3_600_000]
)
TTLS: Final = st.sampled_from([5_000, 5_000, 60_000])
SELDOM: Final = st.integers(0, 9).map(lambda number: number == 9)
SAME_EACH_TIME: Final = settings(
    max_examples=120,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
MANY: Final = settings(SAME_EACH_TIME, max_examples=3000, derandomize=False)


@dataclass
class _Truth:
    """What is committed, and what is left to project. `waiting`: the instant of the oldest change of each total."""

    epoch: int = 1
    license: int = 0
    used: dict[Resource, int] = field(default_factory=dict)
    below_since: dict[Resource, int] = field(default_factory=dict)
    versions: dict[Resource, int] = field(default_factory=dict)
    waiting: dict[Resource, int] = field(default_factory=dict)
    settlements: dict[str, Resource] = field(default_factory=dict)

    def record(
        self, resource: Resource, action: UsageAction, count: int, now: int, *, is_reserved: bool = False, ago: int = 0
    ) -> None:
        """`ago`: how long before now the report says that it happened."""
        below_since = self.below_since.get(resource)
        if (
            below_since is not None
            and action is UsageAction.CREATED
            and not may_draw(
                below_since=_instant(below_since),
                now=_instant(now),
                is_reserved=is_reserved,
                occurred_at=_instant(now - ago) if ago else None,
            )
        ):
            self.used[resource] = 0
        self._stand(resource, total_after(self.used.get(resource, 0), action, count), now)

    def correct_old(self, now: int) -> None:
        """What a worker does once no late report can come any more."""
        for resource, since in list(self.below_since.items()):
            if since + OVERTAKEN_WITHIN / timedelta(milliseconds=1) <= now:
                self._stand(resource, 0, now)

    def _stand(self, resource: Resource, used: int, now: int) -> None:
        self.used[resource] = used
        if used < 0:
            self.below_since.setdefault(resource, now)
        else:
            self.below_since.pop(resource, None)
        self.versions[resource] = self.versions.get(resource, 0) + 1
        self.waiting.setdefault(resource, now)

    def begin_epoch(self, now: int) -> None:
        self.epoch += 1
        self.license = 0
        self.versions = dict.fromkeys(self.versions, 1)
        self.waiting = {resource: self.waiting.get(resource, now) for resource in self.versions}

    def total(self, resource: Resource) -> Total:
        settled = tuple(name for name, of in self.settlements.items() if of == resource)
        return Total(self.used[resource], (self.epoch, self.versions[resource]), settled)

    def projected(self, resource: Resource) -> None:
        self.waiting.pop(resource, None)
        self.settlements = {name: of for name, of in self.settlements.items() if of != resource}


class Histories(RuleBasedStateMachine):
    hot: ClassVar[Hot]

    @initialize(limits=LIMITS, skew=st.sampled_from([-MARGIN, 0, MARGIN]))
    def begin(self, limits: Limits, skew: int) -> None:
        self.hot.begin()
        self.copy, self.lots, self.truth = Copy(), Lots(), _Truth()
        self.skew = skew
        self.synced = [0]
        self.lives: dict[str, int] = {}
        self.applied: list[tuple[Resource, Total]] = []
        self.licenses: list[tuple[tuple[int, int], Limits]] = []
        self.last_grant = -LONGEST_HOLD
        self.change_limits(limits, is_restored=False)
        self.rebuild(is_lost_again=False)
        self.relay(dies=False, most=3)

    @property
    def now(self) -> int:
        return self.hot.now

    @rule(period=PERIODS)
    def pass_time(self, period: int) -> None:
        self.hot.pass_time(period)
        self.copy.pass_time(self.now)

    def hold(self, name: str) -> str:
        """What the panel of that name reserved last."""
        return f"{name}{self.lives.get(name, 0)}"

    def next_hold(self, name: str) -> str:
        """The same hold again, or a new one if that has ended."""
        lot = self.lots.standing.get(self.hold(name))
        if lot is not None and (lot.is_reported or lot.is_over or lot.ends_at <= self.now):
            self.lives[name] = self.lives.get(name, 0) + 1
        return self.hold(name)

    @rule(name=NAMES, resource=RESERVED, count=st.integers(1, 2), ttl=TTLS, back=SELDOM, stale=SELDOM, again=SELDOM)
    def reserve(
        self, name: str, resource: Resource, count: int, ttl: int, back: bool, stale: bool, again: bool
    ) -> None:
        """`back`: the validator does not know the newest `synced_through`. `stale`: it checked an older document.

        `again`: a replay arrives late, in any state of the reservation.
        """
        stamp = self.copy.license[0] if self.copy.license else (1, 0)
        hold = self.next_hold(name) if not again else self.hold(name)
        ask = Ask(hold, resource, count, ttl, (1, stamp[1] - 1) if stale else stamp, self.synced[-1 - back :][0])
        before = self.copy.holds.get(hold)
        answer = self.hot.reserve(ask)
        assert answer == self.copy.reserve(ask, self.now)
        event(f"reserve: {answer[0]}")
        if answer[0] == "granted" and self.copy.holds[hold] is not before:
            assert self.copy.license is not None
            self.lots.grant(ask, self.copy.license[1][resource], self.now)
            self.last_grant = self.now

    @rule(name=NAMES, period=PERIODS, is_silent=st.booleans(), is_relayed=st.booleans())
    def reserve_and_report(self, name: str, period: int, is_silent: bool, is_relayed: bool) -> None:
        """The usual sequence, so that most histories contain it."""
        self.reserve(name, "databases", 1, 5_000, back=False, stale=False, again=False)
        self.report(name, is_silent)
        self.pass_time(period)
        if is_relayed:
            self.relay(dies=False, most=3)

    @rule(name=NAMES)
    def release(self, name: str) -> None:
        """Of a hold without a report."""
        hold = self.hold(name)
        lot = self.lots.standing.get(hold)
        if lot is not None and lot.is_reported:
            return
        answer = self.hot.release(hold)
        assert answer == self.copy.release(hold, self.now)
        if lot is not None and answer != "pinned":
            lot.is_over = True
        if lot is not None and answer == "released":
            lot.ended_at = self.now

    @rule(name=NAMES, resource=st.sampled_from(["databases", "emails"]))
    def pin(self, name: str, resource: Resource) -> None:
        """The recording of a report begins; it may come to nothing."""
        hold = self.hold(name)
        answer = self.hot.pin(hold, resource)
        assert answer == self.copy.pin(hold, resource, self.now)
        event(f"pin: {answer}")
        lot = self.lots.standing.get(hold)
        if answer == "pinned" and lot is not None:
            lot.pinned_at = self.now

    @rule(name=NAMES, is_silent=st.booleans(), ago=st.sampled_from([0, 0, 0, 1, 61_000]))
    def report(self, name: str, is_silent: bool, ago: int = 0) -> None:
        """What was created with this reservation. `is_silent`: Redis is, so that nothing is pinned at this time.

        `ago`: the report says that it happened so long ago. What it draws on a total below zero takes no place.
        """
        hold = self.hold(name)
        lot = self.lots.standing.get(hold)
        if lot is None or lot.is_reported or lot.is_over:
            return
        if not is_silent:
            self.pin(name, lot.resource)
        event(f"report: {'in time' if lot.occupies(self.now) else 'late'}, {'without' if is_silent else 'with'} a pin")
        self.lots.report(hold, self.now)
        self.truth.settlements[hold] = lot.resource
        below_since = self.truth.below_since.get(lot.resource, 0)
        self.truth.record(lot.resource, UsageAction.CREATED, lot.count, self.now, is_reserved=True, ago=ago)
        if ago and self.now - ago < below_since:
            event("report: draws on a total below zero")
            lot.is_fact, lot.is_over = False, True

    @rule()
    def delete(self) -> None:
        """The oldest of what was created."""
        for lot in [lot for lot in self.lots.standing.values() if lot.is_fact][:1]:
            self.truth.record(lot.resource, UsageAction.DELETED, lot.count, self.now)
            lot.is_fact, lot.is_over = False, True

    @rule(resource=RESERVED, count=st.sampled_from([3, 1000]))
    def delete_what_never_was(self, resource: Resource, count: int) -> None:
        """After such a report all earlier things count as deleted; things that are granted later do not."""
        facts = [lot for lot in self.lots.standing.values() if lot.is_fact and lot.resource == resource]
        self.truth.record(resource, UsageAction.DELETED, max(0, self.truth.used.get(resource, 0)) + count, self.now)
        for lot in facts:
            lot.is_fact, lot.is_over = False, True

    @rule()
    def correct(self) -> None:
        self.truth.correct_old(self.now)

    @rule(action=st.sampled_from(UsageAction), count=st.integers(0, 5), gauge=st.booleans())
    def report_without_a_reservation(self, action: UsageAction, count: int, gauge: bool) -> None:
        """A fact, over the limit or not. A panel deletes or sets only what it has reserved itself."""
        if gauge:
            self.truth.record("storage_gb", action, count, self.now)
        else:
            self.truth.record("databases", UsageAction.CREATED, 1, self.now)

    @rule(dies=SELDOM, most=st.integers(1, 3))
    def relay(self, dies: bool, most: int) -> None:
        """One round, with the totals that have waited longest. The relay may die before its commit."""
        taken = sorted(self.truth.waiting, key=lambda resource: self.truth.waiting[resource])[:most]
        totals = [(resource, self.truth.total(resource)) for resource in taken]
        self._apply(totals)
        if dies:
            return
        self.applied += totals
        for resource in taken:
            self.truth.projected(resource)
        if self.copy.loaded:
            through = min([self.now, *self.truth.waiting.values()])
            self.synced.append(max(self.synced[-1], through + self.skew))

    @rule(back=st.integers(1, 9))
    def apply_once_more(self, back: int) -> None:
        """Applies a total again and out of order, like a relay that hung."""
        self._apply(self.applied[-back:][:1])
        self._apply_license(*self.licenses[-back:][0])

    @rule(limits=LIMITS, is_restored=SELDOM)
    def change_limits(self, limits: Limits, is_restored: bool) -> None:
        """Projected at once: a grant is decided by the document in Redis.

        `is_restored`: the epoch rises; versions begin again and are newer all the same.
        """
        if is_restored:
            self.truth.begin_epoch(self.now)
        self.truth.license += 1
        self.licenses.append(((self.truth.epoch, self.truth.license), limits))
        self._apply_license(*self.licenses[-1])

    @rule()
    def sweep(self) -> None:
        old = self.hot.old_pins()
        assert set(old) == {name for name, at in self.copy.pins.items() if at <= self.now - REPORT}
        given_back = [name for name in old if name not in self.truth.settlements]
        if given_back:
            assert self.hot.settle(given_back) == self.copy.settle(given_back, self.now)

    @rule(comes_back=st.booleans(), really=st.sampled_from([False, False, True]))
    def lose(self, comes_back: bool, really: bool = True) -> None:
        if not really:
            return
        self.hot.lose()
        self.copy = Copy()
        self.lots.lose()
        if comes_back:
            self.rebuild(is_lost_again=False)

    @precondition(lambda self: not self.copy.loaded)
    @rule(is_lost_again=st.booleans())
    def rebuild(self, is_lost_again: bool) -> None:
        may_be_lost = self.now - self.last_grant < LONGEST_HOLD
        incarnation = self.hot.begin_rebuild(holds_lost=may_be_lost)
        self.copy.reserve_from = self.now + LONGEST_HOLD if may_be_lost else 0
        self._apply_license(*self.licenses[-1])
        self._apply([(resource, self.truth.total(resource)._replace(settled=())) for resource in self.truth.versions])
        if is_lost_again:
            self.lose(comes_back=False)
        self.copy.loaded = self.hot.mark_loaded(incarnation)
        assert self.copy.loaded is not is_lost_again

    @invariant()
    def both_say_the_same(self) -> None:
        reading = self.hot.read()
        assert (reading.loaded is not None) == self.copy.loaded
        assert (reading.record and (reading.record.epoch, reading.record.version)) == (
            self.copy.license and self.copy.license[0]
        )
        assert reading.usage.used == self.copy.used()
        assert _positive(reading.usage.held) == self.copy.held(self.now)
        ends_in = self.copy.hold_ends_in(self.now)
        assert reading.hold_ends_in == (None if ends_in is None else ends_in / 1000)
        assert self.hot.pins() == self.copy.pins.keys()
        assert self.hot.ended().items() <= self.copy.ended.items()

    @invariant()
    def what_is_settled_is_true(self) -> None:
        """Nothing is counted twice: once everything is projected, usage is what Postgres says."""
        if self.copy.loaded and not self.truth.waiting:
            assert self.copy.used() == self.truth.used
            assert not self.truth.settlements

    def _apply(self, totals: list[tuple[Resource, Total]]) -> None:
        written = sum(self.copy.apply_usage(resource, total, self.now) for resource, total in totals)
        assert self.hot.apply_usage(totals) == written
        for name in (name for _, total in totals for name in total.settled):
            self.lots.standing[name].ended_at = self.now

    def _apply_license(self, stamp: tuple[int, int], limits: Limits) -> None:
        assert self.hot.apply_license(stamp, limits) == self.copy.apply_license(stamp, limits)


def _instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def _positive(counts: Any) -> dict[Resource, int]:
    return {resource: count for resource, count in counts.items() if count}


@pytest.fixture
def hot(valkey: str) -> Iterator[Hot]:
    hot = Hot(valkey)
    yield hot
    hot.close()


@pytest.mark.timeout(3600)
def test_functions_and_rules_agree_and_nothing_is_granted_twice(hot: Hot) -> None:
    machine = type("OfThisServer", (Histories,), {"hot": hot})
    chosen = MANY if settings.get_current_profile_name() == "many" else SAME_EACH_TIME
    run_state_machine_as_test(machine, settings=chosen)
