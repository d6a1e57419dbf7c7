"""What the workers tell Prometheus: counted as it happens, or looked up when somebody asks."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from billing_api.licensing.licenses import repository as licenses
from billing_api.operations.audit import repository as audit
from billing_api.operations.reconciliation import repository as reconciliation
from billing_api.operations.reconciliation.repository import LastRun
from core.clock import unix_time, utc_now
from core.health import Dependency
from core.telemetry import lines_lost, logger
from db import outbox
from db.models.reconciliation import FAULTS, RecordFault, Subject
from db.unit_of_work import Database

_LOOK_UP_WITHIN: Final = 3.0
_DELAYS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_OLDEST_WEBHOOK: Final = text(
    "SELECT coalesce(extract(epoch FROM statement_timestamp() - min(created_at)), 0)::float8"
    " FROM webhook_events WHERE NOT processed"
)
_IN_DEFAULT_PARTITION: Final = text("SELECT np_payments_in_default_partition()")


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
        self._reconciled = self._gauge("np_reconcile_last_run_age_seconds", "Since the last finished run; -1 if none")
        self._reconcile_took = self._gauge("np_reconcile_last_run_seconds", "How long the last finished run took")
        self._unrepaired = self._gauge("np_reconcile_unrepaired", "Differences the last finished run has left")
        self._undecided = self._gauge("np_reconcile_undecided", "Records the last finished run could not compare")
        self._missing = self._gauge("np_hot_store_missing_buckets", "Buckets not loaded; -1 before the first look")
        self._unfit = self._gauge("np_redis_unfit", "1: Redis evicts keys or is full; it gets no marks")
        self._up = self._gauge("np_up", "Whether a part answered when this was asked for", "part")
        self._waiting = self._gauge("np_outbox_waiting", "Outbox rows neither done nor dead", "lane")
        self._lag = self._gauge("np_outbox_lag_seconds", "For how long the oldest due row has been due", "lane")
        self._dead = self._gauge("np_outbox_dead", "Jobs given up; an admin may try them again", "lane")
        self._failing = self._gauge("np_outbox_failing", "Waiting rows whose last attempt failed", "lane")
        self._webhook = self._gauge("np_webhook_oldest_unprocessed_seconds", "Age of the oldest unprocessed webhook")
        self._stranded = self._gauge(
            "np_payments_default_partition_rows", "Payments outside of all months' partitions; any is one to move"
        )
        self._below_zero = self._gauge("np_usage_below_zero", "Totals that are below zero now")
        self._corrected = self._gauge(
            "np_usage_corrected", "Totals brought to 0 from below within 30 days, with no full count since"
        )
        self._sealed = self._gauge("np_audit_position", "Newest position of the audit trail's chain")
        self._unsealed = self._gauge("np_audit_unsealed", "Rows of the audit trail that wait for their seal")
        self._unsealed_age = self._gauge("np_audit_unsealed_seconds", "For how long the oldest of them has waited")
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
        """Prometheus text. A part that is away is told as such and leaves its last figures standing."""
        self._missing.set(-1 if progress.missing is None else progress.missing)
        self._unfit.set(progress.unfit is not None)
        await asyncio.gather(self._look_into_postgres(database), self._look_into_queue(queue))
        return generate_latest(self.registry)

    async def _look_into_postgres(self, database: Database) -> None:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN), database.as_system() as tx:
                lanes = await outbox.lanes(tx.session)
                oldest_webhook = await tx.session.scalar(_OLDEST_WEBHOOK)
                stranded = await tx.session.scalar(_IN_DEFAULT_PARTITION)
                reconciled = await reconciliation.last_finished(tx)
                below_zero, corrected = await licenses.below_zero(tx, utc_now())
                head, backlog = await audit.head(tx), await audit.backlog(tx)
        except (SQLAlchemyError, OSError, TimeoutError) as failure:
            self._away("postgres", failure)
            return
        self._up.labels("postgres").set(1)
        self._webhook.set(oldest_webhook or 0)
        self._stranded.set(stranded or 0)
        self._below_zero.set(below_zero)
        self._corrected.set(corrected)
        self._sealed.set(head.position)
        self._unsealed.set(backlog[0])
        self._unsealed_age.set(backlog[1])
        self._show_reconciliation(reconciled)
        for lane in lanes:
            self._waiting.labels(lane.lane).set(lane.waiting)
            self._lag.labels(lane.lane).set(lane.lag)
            self._dead.labels(lane.lane).set(lane.dead)
            self._failing.labels(lane.lane).set(lane.failing)

    async def _look_into_queue(self, queue: Depth) -> None:
        try:
            async with asyncio.timeout(_LOOK_UP_WITHIN):
                self._depth.set(await queue.depth())
        except (RedisError, OSError, TimeoutError) as failure:
            self._away("queue", failure)
            return
        self._up.labels("queue").set(1)

    def _show_reconciliation(self, last: LastRun | None) -> None:
        self._reconciled.set(-1 if last is None else last.age)
        if last is not None:
            self._reconcile_took.set(last.seconds)
            self._unrepaired.set(last.unrepaired)
            self._undecided.set(last.undecided)

    def _away(self, part: str, failure: Exception) -> None:
        logger().warning("metrics.part_away", part=part, error=type(failure).__name__)
        self._up.labels(part).set(0)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self.registry)
