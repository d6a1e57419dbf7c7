"""The histogram's promise: never too little, at most 0.8 % too much."""

import math

from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import Histogram

_VALUES = st.lists(st.integers(0, 10**11), min_size=1, max_size=200)
_PERCENTS = st.floats(0, 100)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(_VALUES, _PERCENTS)
def test_a_percentile_is_never_too_low_and_at_most_a_hundredth_too_high(values: list[int], percent: float) -> None:
    exact = sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]
    assert exact <= filled(values).percentile(percent) <= exact * 1.008


@given(_VALUES)
def test_the_extremes_are_exact(values: list[int]) -> None:
    histogram = filled(values)
    assert histogram.percentile(100) == histogram.highest == max(values)
    assert histogram.count == len(values)
    assert math.isclose(histogram.mean, sum(values) / len(values))


@given(_VALUES, _VALUES, _PERCENTS)
def test_adding_two_is_recording_all(some: list[int], others: list[int], percent: float) -> None:
    both = filled(some)
    both.add(filled(others))
    everything = filled(some + others)
    assert both.percentile(percent) == everything.percentile(percent)
    assert (both.count, both.total, both.highest) == (everything.count, everything.total, everything.highest)


def test_small_values_are_exact() -> None:
    for value in range(256):
        assert filled([value, 10**9]).percentile(50) == value


def test_an_empty_one_answers_zero() -> None:
    assert Histogram().percentile(99) == 0
    assert Histogram().mean == 0


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    assert filled([-5]).percentile(50) == 0
