"""Findings of one run: rows for people, counts for the run and for Prometheus."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from billing_api.operations.reconciliation import repository
from billing_api.operations.reconciliation.repository import FoundDifference
from core.telemetry import logger
from db.models.reconciliation import DifferenceOutcome, RecordFault, RunState, Subject
from db.unit_of_work import Database

MOST_ROWS: Final = 10_000
"""Differences that a run keeps one by one. A restored database has as many as licenses: then their number is enough."""

Told = Callable[[Subject, RecordFault], None]


class Findings:
    def __init__(self, database: Database, run_id: UUID, told: Told) -> None:
        """`told` is called for each difference."""
        self._database = database
        self._run_id = run_id
        self._told = told
        self.counts: Counter[str] = Counter()
        """By the columns of a run."""

    @property
    def state(self) -> RunState:
        if self.counts["differences"] > self.counts["repaired"]:
            return "differing"
        return "repaired" if self.counts["repaired"] else "agreed"

    async def record(self, found: Sequence[FoundDifference]) -> Sequence[UUID]:
        """Committed when it returns: a difference is on record before it is repaired."""
        room = max(0, MOST_ROWS - self.counts["differences"])
        async with self._database.as_system() as tx:
            ids = await repository.record(tx, self._run_id, found[:room])
        self.counts["differences"] += len(found)
        for one in found:
            self._told(one.subject, one.fault)
            logger().warning("reconcile.difference", subject=one.subject, fault=one.fault, name=one.name)
        return ids

    async def conclude(
        self, outcomes: Mapping[DifferenceOutcome, int], rows: Mapping[DifferenceOutcome, Sequence[UUID]]
    ) -> None:
        """Notes the outcome of recorded differences: how many by outcome, and their rows."""
        self.counts["repaired"] += outcomes.get("repaired", 0)
        async with self._database.as_system() as tx:
            for outcome, ids in rows.items():
                await repository.note_outcome(tx, ids, outcome)
