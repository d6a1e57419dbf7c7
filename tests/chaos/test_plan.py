"""The plan of faults: the seed decides what is struck when."""

from itertools import pairwise

import pytest

from chaos.history import PAUSE
from chaos.plan import HOT_STORE, LASTING, Target, strikes
from core.hotstore.keys import LONGEST_HOLD


def test_a_seed_is_a_plan_and_another_seed_another() -> None:
    assert strikes(7, 300) == strikes(7, 300)
    assert strikes(7, 300) != strikes(8, 300)


@pytest.mark.parametrize("seconds", [20, 300, 600])
def test_every_kind_is_struck(seconds: float) -> None:
    plan = strikes(7, seconds)
    assert {strike.target for strike in plan} == set(Target)
    assert all(0 < strike.at < seconds for strike in plan)
    assert plan == sorted(plan)


def test_a_long_run_leaves_time_for_grants_between_two_losses() -> None:
    losses = [strike.at for strike in strikes(7, 600) if strike.target in HOT_STORE]
    assert len(losses) > 4
    assert all(later - earlier > PAUSE + 10 for earlier, later in pairwise(losses))


@pytest.mark.parametrize("seconds", [20, 300])
def test_faults_that_last_are_lifted_before_long(seconds: float) -> None:
    for strike in strikes(7, seconds):
        assert (strike.lasts > 0) is (strike.target in LASTING)
        assert strike.lasts < 10
        assert strike.at + strike.lasts < seconds + 10


def test_the_pause_is_the_longest_hold() -> None:
    assert PAUSE == LONGEST_HOLD
