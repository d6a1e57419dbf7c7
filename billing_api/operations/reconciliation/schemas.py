"""Runs and differences on the wire."""

from datetime import datetime
from uuid import UUID

import msgspec

from db.models.reconciliation import (
    DifferenceOutcome,
    ReconciliationDifference,
    ReconciliationRun,
    RecordFault,
    RunState,
    Subject,
)
from db.paging import Page


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: how much was compared, and the result.

    `licenses`, `api_keys`: by digest. `records`: of these, field by field. `totals`, `events`: added up again.
    `undecided`: changed so often that no moment was found to compare them; the next run looks again.
    """

    id: UUID
    cause: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    licenses: int
    api_keys: int
    records: int
    totals: int
    events: int
    differences: int
    repaired: int
    undecided: int
    error: str | None

    @classmethod
    def of(cls, row: ReconciliationRun) -> "RunView":
        return msgspec.convert(row, cls, from_attributes=True)


class DifferenceView(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: the license's hash as Redis has it, a key's id, a range of buckets, an outbox row's id."""

    id: UUID
    subject: Subject
    fault: RecordFault
    name: str
    license_id: UUID | None
    expected: str | None
    found: str | None
    outcome: DifferenceOutcome
    created_at: datetime

    @classmethod
    def of(cls, row: ReconciliationDifference) -> "DifferenceView":
        return msgspec.convert(row, cls, from_attributes=True)


class RunWithDifferences(msgspec.Struct, frozen=True):
    """A run, and a page of its differences. Beyond 10,000 they are only counted."""

    run: RunView
    differences: Page[DifferenceView]
