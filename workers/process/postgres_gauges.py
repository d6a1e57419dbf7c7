"""Gauges of what stands in PostgreSQL: the outbox, webhooks, totals, the audit trail, the last reconciliation."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import text

from billing_api.licensing.licenses import repository as license_repository
from billing_api.operations.audit import repository as audit_repository
from billing_api.operations.reconciliation import repository as reconciliation_repository
from billing_api.operations.reconciliation.repository import LastRun
from core.clock import utc_now
from db import outbox
from db.outbox import LaneState
from db.unit_of_work import Database

_OLDEST_WEBHOOK: Final = text(
    "SELECT coalesce(extract(epoch FROM np_statement_now() - min(created_at)), 0)::float8"
    " FROM webhook_events WHERE NOT processed"
)
_IN_DEFAULT_PARTITION: Final = text("SELECT np_payments_in_default_partition()")


class PostgresGauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._reconciled = self._gauge("np_reconcile_last_run_age_seconds", "Since the last finished run; -1 if none")
        self._reconcile_took = self._gauge("np_reconcile_last_run_seconds", "How long the last finished run took")
        self._unrepaired = self._gauge("np_reconcile_unrepaired", "Differences the last finished run has left")
        self._undecided = self._gauge("np_reconcile_undecided", "Records the last finished run could not compare")
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

    async def look(self, database: Database) -> None:
        """Reads everything before it sets anything: after a failure the last figures stay."""
        async with database.as_system() as tx:
            lanes = await outbox.lanes(tx.session)
            oldest_webhook = await tx.session.scalar(_OLDEST_WEBHOOK)
            stranded = await tx.session.scalar(_IN_DEFAULT_PARTITION)
            reconciled = await reconciliation_repository.last_finished(tx)
            below_zero, corrected = await license_repository.below_zero(tx, utc_now())
            head, backlog = await audit_repository.head(tx), await audit_repository.backlog(tx)
        self._webhook.set(oldest_webhook or 0)
        self._stranded.set(stranded or 0)
        self._below_zero.set(below_zero)
        self._corrected.set(corrected)
        self._sealed.set(head.position)
        self._unsealed.set(backlog[0])
        self._unsealed_age.set(backlog[1])
        self._show_reconciliation(reconciled)
        for lane in lanes:
            self._show_lane(lane)

    def _show_reconciliation(self, last: LastRun | None) -> None:
        self._reconciled.set(-1 if last is None else last.age)
        if last is not None:
            self._reconcile_took.set(last.seconds)
            self._unrepaired.set(last.unrepaired)
            self._undecided.set(last.undecided)

    def _show_lane(self, lane: LaneState) -> None:
        self._waiting.labels(lane.lane).set(lane.waiting)
        self._lag.labels(lane.lane).set(lane.lag)
        self._dead.labels(lane.lane).set(lane.dead)
        self._failing.labels(lane.lane).set(lane.failing)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(name, about, labels, registry=self._registry)
