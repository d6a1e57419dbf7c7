from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.simulators.stripe.periods import period_after

pytestmark = pytest.mark.calendar

INSTANTS = st.integers(1_577_836_800, 2_871_763_199)  # the years 2020 to 2060


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("start", "anchor", "interval", "count", "end"),
    [
        ("2026-01-31T10:00", "2026-01-31T10:00", "month", 1, "2026-02-28T10:00"),
        ("2026-02-28T10:00", "2026-01-31T10:00", "month", 1, "2026-03-31T10:00"),
        ("2028-01-31T10:00", "2028-01-31T10:00", "month", 1, "2028-02-29T10:00"),
        ("2026-11-30T00:00", "2026-08-31T00:00", "month", 3, "2027-02-28T00:00"),
        ("2024-02-29T23:59", "2024-02-29T23:59", "year", 1, "2025-02-28T23:59"),
        ("2027-02-28T23:59", "2024-02-29T23:59", "year", 1, "2028-02-29T23:59"),
        ("2026-03-28T12:00", "2026-03-28T12:00", "week", 1, "2026-04-04T12:00"),
        ("2026-12-31T12:00", "2026-12-31T12:00", "day", 2, "2027-01-02T12:00"),
    ],
)
def test_calendar_periods(start: str, anchor: str, interval: str, count: int, end: str) -> None:
    assert period_after(at(start), at(anchor), interval, count) == at(end)


@given(INSTANTS, st.integers(1, 12))
def test_a_year_of_months_comes_back_to_its_day(anchor: int, count: int) -> None:
    """Period after period, without drifting: twelve of them are `count` years."""
    start = anchor
    for _ in range(12):
        end = period_after(start, anchor, "month", count)
        assert end > start
        start = end
    assert start == period_after(anchor, anchor, "year", count)
