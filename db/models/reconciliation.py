"""Reconciliation results: a row for each comparison of PostgreSQL and Redis, and one for each difference."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, CreatedAt, RowId, Table

RunState = Literal["running", "agreed", "repaired", "differing", "failed"]
"""`differing`: a difference is left that could not be repaired. `failed`: the run did not finish."""

Subject = Literal["license", "lease", "total", "api_key", "bucket", "key", "events", "job", "pin"]
RecordFault = Literal["missing", "older", "newer", "wrong", "unknown", "stuck"]
"""How the record in Redis differs from PostgreSQL's; `unknown`: PostgreSQL has no such record."""

DifferenceOutcome = Literal["found", "repaired", "changed", "evidence"]
"""`changed`: the record changed before the repair; the next run compares it again. `found`: the run ended before the
result was known. `evidence`: nothing is repaired; staff have to look at it."""

FAULTS: Final[tuple[tuple[Subject, RecordFault], ...]] = (
    *((subject, fault) for subject in ("license", "lease", "total", "api_key")
      for fault in ("missing", "older", "newer", "wrong", "unknown")),
    ("bucket", "missing"),
    ("key", "unknown"),
    ("events", "wrong"),
    ("job", "stuck"),
    ("pin", "stuck"),
)  # fmt: skip
"""Every pair that can occur."""


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
        """The run's duration; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()


class ReconciliationDifference(Table):
    """A difference that the relay did not remove. `expected` is PostgreSQL's value, `found` the other store's."""

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
