"""Recorder of a run: counts every request once, by the second in which it was due, and by its result.

An outcome is an answer that was expected (a verdict's code, a refusal that the rules foresee). A request is put off
where the server cannot tell now and says when to come again (503 with Retry-After). A fault is all else (no answer, a
status that must not occur). Each has a latency: a request that was given up counts with the time until then, or a
server could look fast by not answering.
"""

from collections import Counter, defaultdict
from typing import Self

from loadtest.histogram import Histogram
from loadtest.results import PERCENTILES, Moment


class Recorder:
    def __init__(self) -> None:
        self.seconds: defaultdict[int, Histogram] = defaultdict(Histogram)
        self.faults_at: Counter[int] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.put_off: Counter[str] = Counter()

    def answered(self, second: int, microseconds: int, outcome: str) -> None:
        """`second`: of the run, in which the request was to be sent."""
        self.seconds[second].record(microseconds)
        self.outcomes[outcome] += 1

    def failed(self, second: int, microseconds: int, fault: str) -> None:
        self.seconds[second].record(microseconds)
        self.faults_at[second] += 1
        self.faults[fault] += 1

    def put_off_at(self, second: int, microseconds: int, answer: str) -> None:
        self.seconds[second].record(microseconds)
        self.put_off[answer] += 1

    def add(self, other: Self) -> None:
        """Adds the records of another process of the same run."""
        for second, histogram in other.seconds.items():
            self.seconds[second].add(histogram)
        self.faults_at.update(other.faults_at)
        self.outcomes.update(other.outcomes)
        self.faults.update(other.faults)
        self.put_off.update(other.put_off)

    def whole(self) -> Histogram:
        everything = Histogram()
        for histogram in self.seconds.values():
            everything.add(histogram)
        return everything

    def moments(self) -> list[Moment]:
        """One for each second between the first and the last, silent ones included."""
        if not self.seconds:
            return []
        silence = Histogram()
        return [
            self._moment(second, self.seconds.get(second, silence))
            for second in range(min(self.seconds), max(self.seconds) + 1)
        ]

    def _moment(self, second: int, latencies: Histogram) -> Moment:
        return Moment(
            second=second,
            requests=latencies.count,
            faults=self.faults_at[second],
            p50=latencies.percentile(50) / 1000,
            p99=latencies.percentile(99) / 1000,
            longest=latencies.highest / 1000,
        )


def curve(latencies: Histogram) -> list[tuple[float, float]]:
    """Percentiles and their milliseconds, as far as there are requests to speak of them."""
    if not latencies.count:
        return []
    known = [percent for percent in PERCENTILES if latencies.count * (100 - percent) >= 100]
    points = [(percent, latencies.percentile(percent) / 1000) for percent in known]
    return [*points, (100.0, latencies.highest / 1000)]
