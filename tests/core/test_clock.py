"""Clock: the real one outside of a devstack, and one that several processes see moved at once."""

import time as real
from pathlib import Path

import pytest

from core import clock
from core.clock import MovedClock, clock_file, keep_clock, move_clock, unix_time


def test_outside_of_a_devstack_the_clock_is_the_builtin_and_no_file_is_looked_for() -> None:
    assert clock.unix_time is real.time  # noqa: TID251  it is what has to be the same
    assert clock_file({"NP_ENVIRONMENT": "production", "NP_DATA": "/somewhere"}) is None
    assert clock_file({"NP_DATA": "/somewhere"}) is None
    assert clock_file({"NP_ENVIRONMENT": "devstack", "NP_DATA": "/somewhere"}) == Path("/somewhere/clock")


@pytest.mark.parametrize("seconds", [0, 1, 86_400, 5 * 366 * 86_400, -30])
def test_who_has_opened_the_file_sees_each_move(tmp_path: Path, seconds: int) -> None:
    file = tmp_path / "clock"
    keep_clock(file)
    moved = MovedClock(file)
    assert moved.seconds() == 0
    move_clock(file, seconds)
    assert moved.seconds() == seconds
    assert abs(moved.unix_time() - unix_time() - seconds) < 10
    assert abs(moved.utc_now().timestamp() - moved.unix_time()) < 10
    keep_clock(file)
    assert moved.seconds() == seconds
