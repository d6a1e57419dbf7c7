"""Rate limit, at any instant."""

from hypothesis import given
from hypothesis import strategies as st

from core import rate_limit
from core.rate_limit import RateLimit


def test_a_burst_of_one_window_is_allowed_and_no_more() -> None:
    limit = RateLimit(rate=10, window=1.0)
    answers = [limit.take("a", 1, 100.0) for _ in range(12)]
    assert [answer.allowed for answer in answers] == [True] * 10 + [False] * 2
    assert [answer.remaining for answer in answers] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]


def test_who_is_refused_is_told_how_long() -> None:
    limit = RateLimit(rate=10, window=1.0)
    limit.take("a", 10, 100.0)
    refused = limit.take("a", 1, 100.0)
    assert 0.09 < refused.wait < 0.11
    assert limit.take("a", 1, 100.0 + refused.wait + 1e-6).allowed


def test_a_batch_counts_as_many_as_it_has() -> None:
    limit = RateLimit(rate=10, window=1.0)
    assert limit.take("a", 7, 100.0).remaining == 3
    assert not limit.take("a", 4, 100.0).allowed
    assert limit.take("a", 3, 100.0).allowed


def test_each_license_has_its_own() -> None:
    limit = RateLimit(rate=1, window=1.0)
    assert limit.take("a", 1, 100.0).allowed
    assert limit.take("b", 1, 100.0).allowed


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=0.5), st.integers(1, 5)), max_size=60))
def test_over_any_stretch_of_time_no_more_than_its_rate_and_one_window_pass(asked: list[tuple[float, int]]) -> None:
    limit = RateLimit(rate=10, window=1.0)
    now, passed = 1000.0, 0
    for pause, number in asked:
        now += pause
        passed += number if limit.take("a", number, now).allowed else 0
    assert passed <= (now - 1000.0) * 10 + 10 + 1e-6


def test_memory_is_bounded() -> None:
    limit = RateLimit(rate=1, window=1.0)
    for number in range(rate_limit._REMEMBERED * 2):
        assert limit.take(str(number), 1, 100.0).allowed
    assert len(limit._paid_at) <= rate_limit._REMEMBERED
    for number in range(rate_limit._REMEMBERED * 2):
        assert limit.take(str(number), 1, 200.0).allowed
