"""Retries: how long a job pauses, and when it is given up."""

from hypothesis import given
from hypothesis import strategies as st

from billing_api.gateways.http_client import PartnerRefused, Retryable
from workers.jobs.retries import ABOUT_A_DAY, is_last, pause


@given(attempt=st.integers(1, 10_000), asked=st.none() | st.integers(0, 3600))
def test_pauses_double_to_five_minutes_and_honor_the_partner(attempt: int, asked: int | None) -> None:
    seconds = pause(attempt, Retryable("later", retry_after=asked))
    unasked = min(2.0 ** min(attempt - 1, 9), 300)
    assert max(unasked / 2, asked or 0) <= seconds <= max(unasked, asked or 0)


def test_the_default_number_of_attempts_takes_about_a_day() -> None:
    seconds = sum(pause(attempt, ValueError("ours")) for attempt in range(1, ABOUT_A_DAY))
    assert 20 * 3600 < seconds < 28 * 3600


def test_a_job_is_given_up_after_a_refusal_or_its_last_attempt() -> None:
    assert is_last(1, 5, PartnerRefused("no such mailbox", 422))
    assert not is_last(4, 5, Retryable("not yet"))
    assert is_last(5, 5, Retryable("not yet"))
