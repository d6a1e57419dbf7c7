"""Which steps are due: by state, each once, and of mails that are due together the last one alone."""

from datetime import UTC, datetime, timedelta

import pytest

from billing_api.commerce.dunning.schedule import Due, due, next_due
from core.billing_policy import DEFAULT, DunningStep

FAILED_AT = datetime(2027, 2, 28, 13, tzinfo=UTC)
STEPS = DEFAULT.dunning
FIRST, AGAIN, TOMORROW, SUSPEND, END = STEPS


def on_day(day: float, *taken: int, in_force_until: datetime | None = FAILED_AT) -> Due:
    now = FAILED_AT + timedelta(days=day)
    return due(STEPS, failed_at=FAILED_AT, taken=taken, now=now, in_force_until=in_force_until)


@pytest.mark.parametrize(
    ("day", "taken", "take", "pass_over"),
    [
        (0, (), [FIRST], []),
        (2.99, (0,), [], []),
        (3, (0,), [AGAIN], []),
        (3, (0, 3), [], []),
        (6.5, (0,), [TOMORROW], [AGAIN]),
        (7, (0, 3, 6), [SUSPEND], []),
        (9, (), [SUSPEND], [FIRST, AGAIN, TOMORROW]),
        (30, (0, 3, 6, 7), [END], []),
        (400, (), [SUSPEND, END], [FIRST, AGAIN, TOMORROW]),
        (400, (0, 3, 6, 7, 30), [], []),
    ],
)
def test_what_is_due(day: float, taken: tuple[int, ...], take: list[DunningStep], pass_over: list[DunningStep]) -> None:
    assert on_day(day, *taken) == Due(tuple(take), tuple(pass_over))


def test_nothing_is_suspended_or_ended_before_the_end_of_what_staff_gave() -> None:
    given = FAILED_AT + timedelta(days=40)
    assert on_day(39, 0, 3, in_force_until=given) == Due((TOMORROW,), ())
    assert on_day(40, 0, 3, 6, in_force_until=given) == Due((SUSPEND, END), ())


def test_a_license_without_end_is_like_one_whose_end_has_come() -> None:
    assert on_day(7, 0, 3, 6, in_force_until=None) == Due((SUSPEND,), ())


def test_the_next_step_is_the_earliest_that_was_not_taken() -> None:
    def follows(*taken: int, in_force_until: datetime = FAILED_AT) -> datetime | None:
        return next_due(STEPS, failed_at=FAILED_AT, taken=taken, in_force_until=in_force_until)

    assert follows() == FAILED_AT
    assert follows(0, 3) == FAILED_AT + timedelta(days=6)
    assert follows(0, 3, 6, in_force_until=FAILED_AT + timedelta(days=9)) == FAILED_AT + timedelta(days=9)
    assert follows(0, 3, 6, 7, 30) is None
