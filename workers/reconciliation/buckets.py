"""Ranges of buckets of the hot store."""

from collections.abc import Iterable, Iterator
from itertools import groupby


def runs(buckets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending buckets as ranges without gaps: 3 4 5 9 → (3, 6) (9, 10)."""
    for _, run in groupby(enumerate(sorted(buckets)), key=lambda pair: pair[1] - pair[0]):
        members = [bucket for _, bucket in run]
        yield members[0], members[-1] + 1
