"""Histogram of latencies: counts in buckets that grow with the values, for millions of requests.

Values are whole microseconds. Each power of two is cut into 128 buckets of equal width. So a bucket is never wider than
1/128 of its values, and up to 256 µs it is one microsecond wide (the layout of Gil Tene's HdrHistogram,
https://hdrhistogram.org). A percentile is the upper end of its bucket: at most 0.8 % too much, never too little. Only
buckets that are not empty take memory, so one histogram for each second of a run is cheap.
"""

import math
from collections import defaultdict
from typing import Self

_CUTS = 7  # bits: 128 buckets for each power of two


class Histogram:
    __slots__ = ("_counts", "count", "highest", "total")

    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.count = 0
        self.total = 0
        self.highest = 0
        """The largest value as it was, not rounded."""

    def record(self, microseconds: int) -> None:
        """Below 0 (two clocks that disagree) counts as 0."""
        value = max(microseconds, 0)
        shift = value.bit_length() - _CUTS - 1
        self._counts[value if shift <= 0 else (shift << _CUTS) + (value >> shift)] += 1
        self.count += 1
        self.total += value
        self.highest = max(self.highest, value)

    def percentile(self, percent: float) -> int:
        """The smallest recorded value that `percent` of all do not exceed, up to 0.8 % more; 0 where nothing was."""
        wanted = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for bucket in sorted(self._counts):
            seen += self._counts[bucket]
            if seen >= wanted:
                return min(_upper_end(bucket), self.highest)
        return self.highest

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, other: Self) -> None:
        """Everything that `other` has counted, as if it had been recorded here."""
        for bucket, count in other._counts.items():
            self._counts[bucket] += count
        self.count += other.count
        self.total += other.total
        self.highest = max(self.highest, other.highest)


def _upper_end(bucket: int) -> int:
    """The largest value that falls into it."""
    shift = (bucket >> _CUTS) - 1
    if shift <= 0:
        return bucket
    return (((bucket & ((1 << _CUTS) - 1)) + (1 << _CUTS) + 1) << shift) - 1
