"""What is counted, and how it is shown to Prometheus.

On the hot path a count is one addition to a plain int: the objects of prometheus_client take locks and would cost more
than the verdict they count. They are made when somebody asks, from these ints. A process has one thread, so there is
nothing to lock.

Two times are measured. An answer that had to wait for Redis: for how long. And how late the loop is when it gets round
to a timer: an answer from memory is given in the turn its question is read in, so that lateness is what its client
feels. Both fall into classes by powers of two of a microsecond, found by `int.bit_length`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from core.licensing.verdict import Code

_CLASSES: Final = 24  # up to 2^23 µs, 8 s


class Histogram:
    __slots__ = ("classes", "micros")

    def __init__(self) -> None:
        self.classes = [0] * _CLASSES
        self.micros = 0

    def add(self, seconds: float) -> None:
        micros = max(0, int(seconds * 1e6))
        self.micros += micros
        self.classes[min(micros.bit_length(), _CLASSES - 1)] += 1


class Tally:
    __slots__ = ("at_once", "by_place", "lateness", "problems", "reservations", "waits")

    PLACES: Final = {code: place for place, code in enumerate(Code)}
    """Where a verdict is counted in `by_place`."""

    def __init__(self) -> None:
        self.by_place = [0] * len(self.PLACES)
        self.problems: Counter[tuple[int, str]] = Counter()
        self.reservations: Counter[str] = Counter()
        self.at_once = 0
        self.waits = Histogram()
        self.lateness = Histogram()


class _Families(Collector):
    def __init__(self, tally: Tally, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._tally = tally
        self._gauges = gauges

    @override
    def collect(self) -> Iterator[Metric]:
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
        yield _shown("np_validator_wait_seconds", "Answers that waited for Redis", tally.waits)
        yield _shown("np_validator_loop_lateness_seconds", "How late a timer fires", tally.lateness)
        for name, (text, read) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=read())


def _shown(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text)
    total, buckets = 0, []
    for place, number in enumerate(histogram.classes[:-1]):
        total += number
        buckets.append((str((1 << place) / 1e6), total))
    buckets.append(("+Inf", total + histogram.classes[-1]))
    family.add_metric([], buckets, histogram.micros / 1e6)
    return family


def exposition(tally: Tally, gauges: dict[str, tuple[str, Callable[[], float]]]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Families(tally, gauges))
    return generate_latest(registry)
