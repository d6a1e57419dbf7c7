"""Reconciliation: a row for each run, and one for each difference that it found."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, CreatedAt, RowId, Table

RunState = Literal["running", "agreed", "repaired", "differing", "failed"]
"""`differing`: something is left that could not be repaired. `failed`: the run did not reach its end."""

Subject = Literal["license", "lease", "total", "api_key", "bucket", "key", "events", "job", "pin"]
RecordFault = Literal["missing", "older", "newer", "wrong", "unknown", "stuck"]
"""The hot store's record compared with that of Postgres; `unknown`: Postgres has none."""

DifferenceOutcome = Literal["found", "repaired", "changed", "evidence"]
"""`changed`: the record had changed when it was to be repaired; the next run looks again. `found`: the run ended before
the repair. `evidence`: nothing is repaired, a person has to look."""

FAULTS: Final[tuple[tuple[Subject, RecordFault], ...]] = (
    *((subject, fault) for subject in ("license", "lease", "total", "api_key")
      for fault in ("missing", "older", "newer", "wrong", "unknown")),
    ("bucket", "missing"),
    ("key", "unknown"),
    ("events", "wrong"),
    ("job", "stuck"),
    ("pin", "stuck"),
)  # fmt: skip
"""Every pair there is."""


class ReconciliationRun(Table):
    """One comparison of both stores. The numbers say what was compared, then what was found."""

    __tablename__ = "reconciliation_runs"
    __table_args__ = (
        Index("ix_reconciliation_runs_started_at", "started_at"),
        CheckConstraint("cause IN ('schedule', 'command')", name="cause"),
        CheckConstraint("state IN ('running', 'agreed', 'repaired', 'differing', 'failed')", name="state"),
    )

    id: Mapped[RowId]
    cause: Mapped[str]
    state: Mapped[str]
    started_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]
    licenses: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    api_keys: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    records: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    totals: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    events: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    differences: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    repaired: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    undecided: Mapped[BigInt] = mapped_column(server_default=text("0"), default=0)
    error: Mapped[str | None]

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


class ReconciliationDifference(Table):
    """One difference that outlasted the relay. `expected`: what Postgres says; `found`: what Redis held."""

    __tablename__ = "reconciliation_differences"

    id: Mapped[RowId]
    run_id: Mapped[UUID] = mapped_column(ForeignKey("reconciliation_runs.id", ondelete="CASCADE"), index=True)
    subject: Mapped[str]
    fault: Mapped[str]
    name: Mapped[str]
    license_id: Mapped[UUID | None]
    expected: Mapped[str | None]
    found: Mapped[str | None]
    outcome: Mapped[str]
    created_at: Mapped[CreatedAt]
