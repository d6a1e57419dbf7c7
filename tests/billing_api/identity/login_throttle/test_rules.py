"""Exponential backoff: how long a guesser waits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_api.identity.login_throttle.rules import ALL_STRANGERS, FORGOTTEN, ONE_GUESSER, Backoff, guesses_so_far

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("guesses", "minutes"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 2), (7, 4), (10, 32), (11, 60), (12, 60), (10**6, 60)]
)
def test_five_guesses_are_free_and_then_waits_double_up_to_an_hour(guesses: int, minutes: int) -> None:
    assert ONE_GUESSER.pause(guesses) == timedelta(minutes=minutes)


def most_within(backoff: Backoff, span: timedelta) -> int:
    """The number of guesses in the time, each as early as allowed."""
    at, guesses = timedelta(0), 0
    while at < span:
        guesses += 1
        at += backoff.pause(guesses)
    return guesses


def test_all_strangers_together_have_less_than_a_hundred_guesses_an_hour() -> None:
    assert 40 < most_within(ALL_STRANGERS, timedelta(hours=1)) <= 80


def test_one_guesser_has_few_in_a_day() -> None:
    assert most_within(ONE_GUESSER, timedelta(days=1)) < 40


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_guesses_never_wait_less(one: int, other: int) -> None:
    for backoff in (ONE_GUESSER, ALL_STRANGERS):
        assert backoff.pause(min(one, other)) <= backoff.pause(max(one, other)) <= backoff.longest


def test_guesses_are_forgotten_a_day_after_the_last() -> None:
    assert guesses_so_far(7, NOW - FORGOTTEN + timedelta(seconds=1), NOW) == 7
    assert guesses_so_far(7, NOW - FORGOTTEN, NOW) == 0
