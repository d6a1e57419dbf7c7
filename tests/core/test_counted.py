"""Numbers with their noun."""

import pytest

from core.counted import counted


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "second", "0 seconds"),
        (1, "second", "1 second"),
        (2, "license", "2 licenses"),
        (1, "API key", "1 API key"),
        (3, "API key", "3 API keys"),
        (2, "try", "2 tries"),
    ],
)
def test_one_is_no_plural(number: int, noun: str, told: str) -> None:
    assert counted(number, noun) == told


def test_large_numbers_can_be_written_for_people() -> None:
    assert counted(1_000_000, "license", ",") == "1,000,000 licenses"
