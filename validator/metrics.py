"""Metrics of the validator for Prometheus: counters of the hot path, histograms, and gauges that are read on demand.

On the hot path a count is one addition to a plain int: the objects of prometheus_client take locks, and would cost more
than the verdict that they count. They are made from these ints for each scrape. A process has one thread, so there is
nothing to lock.

Two times are measured: how long an answer waited for Redis, and how late the loop fires a timer. An answer from memory
is given in the turn of the loop that reads its question, so its client feels this lateness. Both histograms have
classes of powers of two of a microsecond, found by `int.bit_length`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from core.licensing.verdict import Code

_CLASSES: Final = 24  # up to 2^23 µs, 8 s
_MINUTE: Final = 60.0


class Histogram:
    __slots__ = ("classes", "micros")

    def __init__(self) -> None:
        self.classes = [0] * _CLASSES
        self.micros = 0

    def add(self, seconds: float) -> None:
        micros = max(0, int(seconds * 1e6))
        self.micros += micros
        self.classes[min(micros.bit_length(), _CLASSES - 1)] += 1


class Longest:
    """The longest of the last minute, or of up to two: a scrape each minute misses none."""

    __slots__ = ("_before", "_now", "_until")

    def __init__(self) -> None:
        self._before = self._now = 0.0
        self._until = float("-inf")

    def add(self, seconds: float, at: float) -> None:
        """`at`: any clock of seconds, always the same."""
        if at >= self._until:
            self._before = self._now if at < self._until + _MINUTE else 0.0
            self._now = 0.0
            self._until = at + _MINUTE
        self._now = max(self._now, seconds)

    @property
    def seconds(self) -> float:
        return max(self._before, self._now)


class Tally:
    __slots__ = ("at_once", "by_place", "lateness", "longest_turn", "problems", "reservations", "waits")

    PLACES: Final = {code: place for place, code in enumerate(Code)}
    """The index of each code in `by_place`."""

    def __init__(self) -> None:
        self.by_place = [0] * len(self.PLACES)
        self.problems: Counter[tuple[int, str]] = Counter()
        self.reservations: Counter[str] = Counter()
        self.at_once = 0
        self.waits = Histogram()
        self.lateness = Histogram()
        self.longest_turn = Longest()


class Figure(NamedTuple):
    """A metric that is read for each scrape. `read` gives one value, or several by their labels.

    Several labels are one text with `/` between them.
    """

    name: str
    text: str
    read: Callable[[], float | Mapping[str, float]]
    family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily
    labels: Sequence[str] = ("server",)


class _Families(Collector):
    def __init__(self, tally: Tally, figures: Iterable[Figure], round_trips: Mapping[str, Histogram]) -> None:
        self._tally = tally
        self._figures = figures
        self._round_trips = round_trips

    @override
    def collect(self) -> Iterator[Metric]:
        yield from self._counted()
        yield _shown("np_validator_wait_seconds", "Answers that waited for Redis", {"": self._tally.waits})
        yield _shown("np_validator_loop_lateness_seconds", "How late a timer fires", {"": self._tally.lateness})
        yield _shown("np_validator_redis_round_trip_seconds", "A question to Redis, by server", self._round_trips)
        for figure in self._figures:
            value = figure.read()
            values = value if isinstance(value, Mapping) else {"": value}
            family = figure.family(figure.name, figure.text, labels=figure.labels if _labels(values) else ())
            for labels, one in values.items():
                family.add_metric(labels.split("/", len(figure.labels) - 1) if labels else [], one)
            yield family

    def _counted(self) -> Iterator[Metric]:
        tally = self._tally
        verdicts = CounterMetricFamily("np_validator_verdicts", "Verdicts given", labels=["code"])
        for code, place in tally.PLACES.items():
            verdicts.add_metric([code.value], tally.by_place[place])
        yield verdicts
        problems = CounterMetricFamily("np_validator_problems", "Refusals", labels=["status", "code"])
        for (status, problem), number in sorted(tally.problems.items()):
            problems.add_metric([str(status), problem], number)
        yield problems
        reservations = CounterMetricFamily("np_validator_reservations", "Reservations asked for", labels=["outcome"])
        for outcome, number in sorted(tally.reservations.items()):
            reservations.add_metric([outcome], number)
        yield reservations
        yield CounterMetricFamily(
            "np_validator_answers_at_once", "Answers that waited for nothing", value=tally.at_once
        )


def _shown(name: str, text: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=_labels(histograms))
    for server, histogram in histograms.items():
        total, buckets = 0, []
        for place, number in enumerate(histogram.classes[:-1]):
            total += number
            buckets.append((str((1 << place) / 1e6), total))
        buckets.append(("+Inf", total + histogram.classes[-1]))
        family.add_metric([server] if server else [], buckets, histogram.micros / 1e6)
    return family


def _labels(values: Mapping[str, object]) -> Sequence[str]:
    """A single value has the name "", several values have the names of their servers."""
    return () if "" in values else ("server",)


def exposition(tally: Tally, figures: Iterable[Figure], round_trips: Mapping[str, Histogram]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(tally, figures, round_trips))
    return generate_latest(registry)
