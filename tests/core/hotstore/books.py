"""Model of the hot store: the rules of limits, totals and holds once more, without a server and without a clock.

`Copy` is Redis as it should behave, step by step and answer by answer. `Lots` knows nothing of Redis: it records what
panels were granted and what became of it, and says whether one more may be granted. `Copy` finds functions that do not
follow the rules; `Lots` finds rules that are not enough.

Instants are milliseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from core.hotstore import keys
from core.licensing.plan import Resource

Limits = Mapping[Resource, int | None]

LONGEST_HOLD: Final = keys.LONGEST_HOLD * 1000
LONGEST_DOUBT: Final = keys.LONGEST_DOUBT * 1000
REPLAYABLE: Final = keys.REPLAYABLE * 1000
MARGIN: Final = keys.HOLD_MARGIN * 1000
REPORT: Final = 60_000
"""How long a report may take from its pin to its commit."""


class Ask(NamedTuple):
    """A request for a hold, with what its validator knows of the license and of the projection."""

    hold: str
    resource: Resource
    number: int
    ttl: int
    stamp: tuple[int, int]
    synced_through: int


@dataclass(frozen=True)
class Hold:
    resource: Resource
    count: int
    ends_at: int | None
    """None once it is pinned."""

    def ran_out(self, now: int) -> bool:
        return self.ends_at is not None and self.ends_at <= now


class Total(NamedTuple):
    used: int
    stamp: tuple[int, int]
    settled: tuple[str, ...] = ()


@dataclass
class Copy:
    """One license, its bucket's mark and its pins."""

    loaded: bool = False
    reserve_from: int = 0
    license: tuple[tuple[int, int], Limits] | None = None
    totals: dict[Resource, Total] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    pins: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    """Ids whose holds have ended, and when."""

    def used(self) -> dict[Resource, int]:
        return {resource: total.used for resource, total in self.totals.items()}

    def held(self, now: int) -> dict[Resource, int]:
        return _sums(hold for hold in self.holds.values() if not hold.ran_out(now))

    def hold_ends_in(self, now: int) -> int | None:
        return min((h.ends_at - now for h in self.holds.values() if h.ends_at and h.ends_at > now), default=None)

    def reserve(self, ask: Ask, now: int) -> list[Any]:
        proven = ask.synced_through - MARGIN
        if not self.loaded:
            return ["not_ready", 0]
        if now < self.reserve_from:
            return ["not_ready", self.reserve_from - now]
        if proven < self.reserve_from or proven < now - LONGEST_DOUBT:
            return ["behind"]
        if self.license is None or self.license[0] != ask.stamp:
            return ["changed"]
        limits = self.license[1]
        if ask.resource not in limits:
            return ["not_granted"]
        for name, hold in list(self.holds.items()):
            if hold.ran_out(now) and (limits.get(hold.resource, 0) is None or (hold.ends_at or 0) <= proven):
                self._end(name, now)
        return self._grant(ask, limits[ask.resource], now)

    def _grant(self, ask: Ask, limit: int | None, now: int) -> list[Any]:
        taken = _sums(self.holds.values()).get(ask.resource, 0)
        live = self.held(now).get(ask.resource, 0)
        used = max(0, self.used().get(ask.resource, 0))
        if now - self.ended.get(ask.hold, -REPLAYABLE) < REPLAYABLE:
            return ["ended"]
        before = self.holds.get(ask.hold)
        if before is not None:
            if before.ran_out(now):
                return ["ended"]
            if (before.resource, before.count) != (ask.resource, ask.number):
                return ["conflict"]
            return ["granted", -1 if limit is None else max(0, limit - used - taken)]
        if limit is not None and limit - used - taken < ask.number:
            left = limit - used - live
            return ["behind"] if left >= ask.number else ["exceeded", max(0, left)]
        self.holds[ask.hold] = Hold(ask.resource, ask.number, now + ask.ttl)
        return ["granted", -1 if limit is None else limit - used - taken - ask.number]

    def pin(self, name: str, resource: Resource, now: int) -> str:
        hold = self.holds.get(name)
        if hold is None:
            return "gone"
        if hold.resource != resource:
            return "other"
        self.holds[name] = replace(hold, ends_at=None)
        self.pins[name] = now
        return "pinned"

    def release(self, name: str, now: int) -> str:
        hold = self.holds.get(name)
        if hold is None:
            return "gone"
        if hold.ends_at is None:
            return "pinned"
        self._end(name, now)
        return "released"

    def settle(self, names: Iterable[str], now: int) -> int:
        stood = [name for name in names if name in self.holds]
        for name in names:
            self.pins.pop(name, None)
        for name in stood:
            self._end(name, now)
        return len(stood)

    def _end(self, name: str, now: int) -> None:
        self.holds.pop(name, None)
        self.ended[name] = now

    def apply_usage(self, resource: Resource, total: Total, now: int) -> int:
        for name in total.settled:  # also where nothing is held for it any more
            self.pins.pop(name, None)
            self._end(name, now)
        before = self.totals.get(resource)
        if before is not None and before.stamp >= total.stamp:
            return 0
        self.totals[resource] = total
        return 1

    def apply_license(self, stamp: tuple[int, int], limits: Limits) -> int:
        if self.license is not None and self.license[0] >= stamp:
            return 0
        self.license = (stamp, limits)
        return 1

    def pass_time(self, now: int) -> None:
        """The holds' key expires where it can no longer be needed."""
        ends = [hold.ends_at for hold in self.holds.values()]
        if None not in ends and all(end + LONGEST_DOUBT <= now for end in ends if end is not None):
            self.holds.clear()


@dataclass
class Lot:
    """Something that a panel was granted. `pinned_at`: a report of it is being recorded since then."""

    resource: Resource
    count: int
    ends_at: int
    pinned_at: int | None = None
    is_reported: bool = False
    is_fact: bool = False
    """It was reported in time, and it is not deleted."""
    is_over: bool = False
    """Given back, deleted, or reported when nothing was held for it any more: no grant has to respect it."""
    ended_at: int | None = None
    """When Redis was told that it was given back, or reported; None once Redis has lost that."""

    def occupies(self, now: int) -> bool:
        if self.is_over or self.is_fact:
            return self.is_fact
        return now < self.ends_at or self.is_reported_of(now)

    def is_reported_of(self, now: int) -> bool:
        return self.pinned_at is not None and now - self.pinned_at < REPORT


@dataclass
class Lots:
    standing: dict[str, Lot] = field(default_factory=dict)

    def grant(self, ask: Ask, limit: int | None, now: int) -> None:
        """AssertionError where it passes the limit, or where the same signed request may have been granted before.

        No panel creates a second thing under a name that was reported.
        """
        known = self.standing.get(ask.hold)
        replayed = known is not None and known.ended_at is not None and now - known.ended_at < REPLAYABLE
        assert not replayed, f"{ask.hold} was granted again after its end"
        if known is not None and known.is_reported:
            return
        taken = sum(lot.count for lot in self.standing.values() if lot.resource == ask.resource and lot.occupies(now))
        text = f"{ask.hold} was granted {ask.number} of {ask.resource} with {taken} of {limit} taken"
        assert limit is None or taken + ask.number <= limit, text
        self.standing[ask.hold] = Lot(ask.resource, ask.number, now + ask.ttl)

    def report(self, name: str, now: int) -> Lot:
        lot = self.standing[name]
        lot.is_reported = True
        lot.is_fact = lot.occupies(now)
        lot.is_over = not lot.is_fact
        lot.pinned_at = None
        return lot

    def lose(self) -> None:
        """Redis loses what it knew of them."""
        for lot in self.standing.values():
            lot.pinned_at = lot.ended_at = None


def _sums(holds: Iterable[Hold]) -> dict[Resource, int]:
    sums: dict[Resource, int] = {}
    for hold in holds:
        sums[hold.resource] = sums.get(hold.resource, 0) + hold.count
    return sums
