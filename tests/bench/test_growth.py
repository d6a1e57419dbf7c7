"""The sweep over the number of licenses, on a small scale: a real validator, a real Valkey, every setup."""

import os
from pathlib import Path

import pytest

from bench import growth, running
from bench.growth import COLD, OFF, WARM, Sweep
from loadtest.results import Point, Result


def test_sizes_grow_tenfold_up_to_all() -> None:
    assert Sweep(licenses=1_000_000).sizes == [1_000, 10_000, 100_000, 1_000_000]
    assert Sweep(licenses=300_000).sizes == [1_000, 10_000, 100_000, 300_000]
    assert Sweep(licenses=20).sizes == [20]


@pytest.mark.parametrize("rate", [None, 200.0])
def test_each_setup_is_measured_and_each_answer_is_right(tmp_path: Path, rate: float | None) -> None:
    sweep = Sweep(licenses=20, seconds=0.3, rounds=1, rate=rate, connections=4)
    core = min(os.sched_getaffinity(0))
    with running.place(tmp_path) as place:
        found = list(growth.measured(place, tmp_path, core, sweep))
    whole = growth.summary(found, sweep)
    assert [point.series for point in whole.points] == [sweep.series(setup) for setup in (COLD, WARM, OFF)]
    assert whole.holds, whole.checks
    for point in whole.points:
        assert point.licenses == 20
        assert point.requests > 0
        assert point.micros["server"] > 0 or rate is not None, "the kernel counts ticks of 10 ms for an open loop"
        assert point.resident_mb["valkey"] > 1


def test_the_promise_compares_all_licenses_with_ten_thousand() -> None:
    sweep = Sweep(licenses=1_000_000)
    costs = {WARM: {10_000: 20.0, 1_000_000: 31.0}, OFF: {10_000: 40.0, 1_000_000: 42.0}}
    found = [_result(_point(sweep, setup, size, cost)) for setup, by in costs.items() for size, cost in by.items()]
    whole = growth.summary(found, sweep)
    assert [(check.value, check.holds) for check in whole.checks] == [(1.55, False), (1.05, True)]


def _point(sweep: Sweep, setup: str, licenses: int, micros: float) -> Point:
    part = {"server": micros}
    return Point(series=sweep.series(setup), licenses=licenses, requests=1, micros=part, resident_mb=part, curve=[])


def _result(point: Point) -> Result:
    return Result(
        tool="growth", title="", began="", settings={}, facts={}, requests=1, curve=[], points=[point], checks=[]
    )
