"""Metrics of the workers for Prometheus: counted as it happens, or looked up when they are asked for."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from core.clock import unix_time
from core.health import Dependency
from core.telemetry import lines_lost, logger
from db.models.reconciliation import FAULTS, RecordFault, Subject
from db.unit_of_work import Database
from workers.process.postgres_gauges import PostgresGauges

_LOOK_UP_WITHIN: Final = 3.0
_DELAYS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Depth(Protocol):
    async def depth(self) -> int: ...


class Progress(Protocol):
    @property
    def missing(self) -> int | None: ...
    @property
    def unfit(self) -> str | None: ...


class _OfTheProcess(Collector):
    def __init__(self, parts: Callable[[], Mapping[str, Mapping[str, object]]]) -> None:
        self._parts = parts

    @override
    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("np_log_lines_lost", "Lines that could not be written to the log", lines_lost())
        ages = GaugeMetricFamily(
            "np_part_last_success_age_seconds", "Since the last round of a part that succeeded", labels=["part"]
        )
        for name, told in self._parts().items():
            at = told["last_success"]
            ages.add_metric([name], unix_time() - at if isinstance(at, float) else inf)
        yield ages


class Metrics:
    def __init__(self, parts: Callable[[], Mapping[str, Mapping[str, object]]] = dict) -> None:
        """`parts`: what core.parts.Parts tells of each."""
        self.registry = CollectorRegistry()
        self._delay = Histogram(
            "np_projection_delay_seconds",
            "From the beginning of the transaction that changed a row to its record in the hot store",
            buckets=_DELAYS,
            registry=self.registry,
        )
        self._rebuilt = Counter("np_rebuild_rows", "Rows applied by rebuilds", registry=self.registry)
        self._leases = Counter("np_leases_signed", "Leases signed", registry=self.registry)
        self._jobs = Counter(
            "np_jobs_performed", "Attempts at partner jobs", ("kind", "outcome"), registry=self.registry
        )
        self._differences = Counter(
            "np_reconcile_differences",
            "Differences between the stores that outlasted the relay, found by this process",
            ("subject", "fault"),
            registry=self.registry,
        )
        for subject, fault in FAULTS:
            self._differences.labels(subject, fault)
        self._missing = self._gauge("np_hot_store_missing_buckets", "Buckets not loaded; -1 before the first look")
        self._unfit = self._gauge("np_redis_unfit", "1: Redis evicts keys or is full; it gets no marks")
        self._up = self._gauge("np_up", "Whether a part answered when this was asked for", "part")
        self._postgres = PostgresGauges(self.registry)
        self._cut = self._gauge("np_audit_chain_cut", "1: the chain lacks a link that this process has seen in it")
        self._depth = self._gauge("np_arq_depth", "Hints in the queue")
        self._dependency = self._gauge(
            "np_dependency", "1 where this process sees a shared server in this state", "dependency", "state"
        )
        self.registry.register(_OfTheProcess(parts))

    def projected(self, delays: Sequence[float]) -> None:
        for delay in delays:
            self._delay.observe(delay)

    def rebuilt(self, rows: int) -> None:
        self._rebuilt.inc(rows)

    def signed(self, leases: int) -> None:
        self._leases.inc(leases)

    def performed(self, kind: str, outcome: str) -> None:
        self._jobs.labels(kind, outcome).inc()

    def differs(self, subject: Subject, fault: RecordFault) -> None:
        self._differences.labels(subject, fault).inc()

    def chain_whole(self, whole: bool) -> None:  # noqa: FBT001  said of one thing only
        self._cut.set(not whole)

    def sees(self, states: Mapping[str, Dependency]) -> None:
        """Shared servers, as they were seen last."""
        for name, seen in states.items():
            for state in Dependency:
                self._dependency.labels(name, state).set(state is seen)

    async def exposition(self, database: Database, queue: Depth, progress: Progress) -> bytes:
        """Prometheus text. For a server that is away, `np_up` is 0 and the last figures stay."""
        self._missing.set(-1 if progress.missing is None else progress.missing)
        self._unfit.set(progress.unfit is not None)
        await asyncio.gather(self._look_into_postgres(database), self._look_into_queue(queue))
        return generate_latest(self.registry)

    async def _look_into_postgres(self, database: Database) -> None:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                await self._postgres.look(database)
        except (SQLAlchemyError, OSError, TimeoutError) as failure:
            self._away("postgres", failure)
            return
        self._up.labels("postgres").set(1)

    async def _look_into_queue(self, queue: Depth) -> None:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                self._depth.set(await queue.depth())
        except (RedisError, OSError, TimeoutError) as failure:
            self._away("queue", failure)
            return
        self._up.labels("queue").set(1)

    def _away(self, part: str, failure: Exception) -> None:
        logger().warning("metrics.part_away", part=part, error=type(failure).__name__)
        self._up.labels(part).set(0)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)
