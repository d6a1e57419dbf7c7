"""Plan changes: direction, effect, and overrides, over the whole space of inputs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.licensing.overrides import Override, override
from core.licensing.plan_change import Direction, Offer, direction, direction_with_number, is_in_force

NOW = datetime(2027, 1, 31, tzinfo=UTC)
OFFERS = st.builds(
    lambda tier, interval: Offer(UUID(int=tier), tier * 1000, interval),
    st.integers(1, 4),
    st.sampled_from(("month", "year")),
)
LIMITS = st.none() | st.integers(0, 1000)


@pytest.mark.parametrize(
    ("now", "wanted", "way"),
    [
        ((1, "month"), (1, "month"), Direction.NONE),
        ((1, "month"), (2, "month"), Direction.UPGRADE),
        ((2, "month"), (1, "month"), Direction.DOWNGRADE),
        ((1, "month"), (1, "year"), Direction.UPGRADE),
        ((1, "year"), (1, "month"), Direction.DOWNGRADE),
        ((1, "year"), (2, "month"), Direction.UPGRADE),
        ((2, "month"), (1, "year"), Direction.DOWNGRADE),
    ],
)
def test_which_way_a_change_goes(now: tuple[int, str], wanted: tuple[int, str], way: Direction) -> None:
    first, second = (Offer(UUID(int=tier), tier * 1000, interval) for tier, interval in (now, wanted))  # type: ignore[arg-type]  # literals
    assert direction(first, second) is way


def test_a_plan_of_the_same_price_waits() -> None:
    other = Offer(UUID(int=9), 1000, "month")
    assert direction(Offer(UUID(int=1), 1000, "month"), other) is Direction.DOWNGRADE


@given(OFFERS, OFFERS)
def test_there_and_back_are_opposite_ways(one: Offer, other: Offer) -> None:
    opposite = {
        Direction.NONE: Direction.NONE,
        Direction.UPGRADE: Direction.DOWNGRADE,
        Direction.DOWNGRADE: Direction.UPGRADE,
    }
    assert direction(other, one) is opposite[direction(one, other)]


@given(st.sampled_from(Direction), st.booleans(), st.integers(-100, 100))
def test_up_when_paid_and_down_in_its_time(way: Direction, paid: bool, days: int) -> None:
    now = NOW + timedelta(days=days)
    counted = is_in_force(way, paid=paid, plan_paid_until=NOW, now=now)
    assert counted is {Direction.NONE: True, Direction.UPGRADE: paid, Direction.DOWNGRADE: now >= NOW}[way]


@given(LIMITS, LIMITS)
def test_a_limit_set_by_hand_is_what_was_set_on_the_plan_it_was_set_on(limit: int | None, of_plan: int | None) -> None:
    said = override(limit, of_plan)
    assert (of_plan if said is None else said.applied(of_plan)) == limit


@given(LIMITS, LIMITS, LIMITS)
def test_on_another_plan_a_promise_is_kept_and_a_restraint_too(
    limit: int | None, of_plan: int | None, of_other: int | None
) -> None:
    said = override(limit, of_plan)
    size = float("inf") if limit is None else limit
    on_other = of_other if said is None else said.applied(of_other)
    reached = float("inf") if on_other is None else on_other
    if said is not None and said.at_least is not msgspec.UNSET:
        assert reached == max(size, float("inf") if of_other is None else of_other)
    elif said is not None:
        assert reached == min(size, float("inf") if of_other is None else of_other)
    else:
        assert on_other == of_other


def test_what_an_override_looks_like_in_the_database() -> None:
    assert msgspec.to_builtins(override(60, 50)) == {"at_least": 60}
    assert msgspec.to_builtins(override(None, 50)) == {"at_least": None}
    assert msgspec.to_builtins(override(0, 50)) == {"at_most": 0}
    assert msgspec.convert({"at_least": None}, Override).applied(5) is None
    assert Override().applied(5) == 5


@given(OFFERS, OFFERS, st.integers(1, 5), st.integers(1, 5))
def test_plan_and_number_change_together_only_where_both_go_one_way(
    now: Offer, wanted: Offer, had: int, asked: int
) -> None:
    of_plan = direction(now, wanted)
    of_number = direction_with_number(now, now, had, asked)
    together = direction_with_number(now, wanted, had, asked)
    assert of_number is (Direction.NONE if had == asked else Direction.UPGRADE if asked > had else Direction.DOWNGRADE)
    if Direction.NONE in {of_plan, of_number} or of_plan is of_number:
        assert together is (of_plan if of_number is Direction.NONE else of_number)
    else:
        assert together is None
