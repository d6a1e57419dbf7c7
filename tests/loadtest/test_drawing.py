"""Which licenses a run asks about."""

import random
from collections import Counter

import pytest

from loadtest.drawing import SPREADS, Spread, draw


@pytest.mark.parametrize("spread", SPREADS)
def test_licenses_are_drawn_from_all_and_from_no_others(spread: Spread) -> None:
    drawn = draw(50, spread, 20_000, random.Random(7))
    assert len(drawn) == 20_000
    assert set(drawn) == set(range(50))


def test_some_licenses_are_more_popular_where_that_is_wanted() -> None:
    even = Counter(draw(1_000, "even", 50_000, random.Random(7)))
    skewed = Counter(draw(1_000, "zipf", 50_000, random.Random(7)))
    assert max(even.values()) < 2 * 50
    assert skewed.most_common(1)[0][0] == 0
    assert skewed[0] == pytest.approx(2 * skewed[1], rel=0.1), "in proportion to 1/k^0.99"
