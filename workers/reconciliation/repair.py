"""Repair: finds out which suspects really differ, and replaces the damaged records.

Postgres and Redis cannot be read in one instant, and traffic never stops. So a suspect is looked at while nothing about
it can change:

- its rows are locked against writers for some milliseconds; rows that others have locked are left for a retry, so this
  waits for nobody;
- no change of it may wait in the outbox;
- what Postgres says is read once more after Redis.

Then Redis must say the same, to the field. Where it does not, it is damage and no delay.

A difference is written down before it is repaired. A repair replaces exactly what was seen, in the incarnation in which
it was seen. So what a relay, a rebuild or another process has written first is never undone. Documents that Postgres
does not know become tombstones; API keys are switched off.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.operations.reconciliation.repository import FoundDifference
from core.clock import rfc3339
from core.hotstore import codec
from core.hotstore.comparison import (
    Comparison,
    NewTotal,
    Repair,
    StoredRecord,
)
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord
from core.parts import step
from db.models.reconciliation import DifferenceOutcome
from db.unit_of_work import Database
from workers.projection import records
from workers.reconciliation.differences import Difference, compare
from workers.reconciliation.expected import Expected, Truth
from workers.reconciliation.findings import Findings

BATCH: Final = 200
REPAIR_WITHIN: Final = 10.0
_LOOK_AGAIN: Final = 0.1
_LOCKED_WITHIN: Final = 3.0
"""Seconds that Redis has while rows are locked: fewer than the API's requests wait for a lock (db/migrate.py)."""


class _Case(NamedTuple):
    """A suspect that was looked at while it could not change."""

    name: str
    expected: Expected | None
    stored: StoredRecord
    difference: Difference


class RecordRepair:
    def __init__(
        self, database: Database, comparison: Comparison, findings: Findings, *, within: float = REPAIR_WITHIN
    ) -> None:
        """`within`: seconds for which a suspect is looked at again while it changes."""
        self._database = database
        self._comparison = comparison
        self._findings = findings
        self._within = within

    async def repair(self, truth: Truth, suspects: Iterable[str]) -> None:
        """Records and repairs the damaged ones; counts those that changed at every look as undecided."""
        left: Sequence[str] = list(dict.fromkeys(suspects))
        deadline = monotonic() + self._within
        while left:
            moving: list[str] = []
            for start in range(0, len(left), BATCH):
                cases, others = await self._look(truth, left[start : start + BATCH])
                async with step():
                    await self._put_right(truth, cases)
                moving += others
            left = moving
            if left and monotonic() > deadline:
                break
            if left:
                await asyncio.sleep(_LOOK_AGAIN)
        self._findings.counts["undecided"] += len(left)

    async def differing(self, truth: Truth, names: Sequence[str]) -> list[str]:
        """The names that differ in some field, as far as a look without locks can tell."""
        differ: list[str] = []
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            async with step(), self._database.as_system() as tx:
                expected = await truth.read(tx.session, some)
            records_there = await self._comparison.stored(truth.kind, some)
            differences = (
                (name, compare(expected.get(name), one, truth.decode)) for name, one in records_there.items()
            )
            differ += [name for name, difference in differences if difference.differs]
        return differ

    async def _look(self, truth: Truth, names: Sequence[str]) -> tuple[list[_Case], list[str]]:
        """The suspects that did not change, with their differences, and the names of those that did."""
        async with step(), self._database.as_system() as tx:
            locked = await truth.read(tx.session, names, lock=True)
            pending = await truth.pending(tx.session, names, locked)
            async with asyncio.timeout(_LOCKED_WITHIN):
                records_there = await self._comparison.stored(truth.kind, names)
            plain = await truth.read(tx.session, names)
        moving = [name for name in names if name in pending or locked.get(name) != plain.get(name)]
        cases = [
            _Case(name, plain.get(name), stored, compare(plain.get(name), stored, truth.decode))
            for name, stored in records_there.items()
            if name not in moving and stored.loaded is not None  # nothing is known of what is being rebuilt
        ]
        return cases, moving

    async def _put_right(self, truth: Truth, cases: Sequence[_Case]) -> None:
        found = [(case, one) for case in cases for one in _told(truth, case)]
        ids = await self._findings.record([one for _, one in found]) if found else ()
        succeeded = await self._comparison.repair(truth.kind, [_repair(truth, case) for case in cases])
        if not found:
            return
        outcome_of: dict[str, DifferenceOutcome] = {
            case.name: "repaired" if well else "changed" for case, well in zip(cases, succeeded, strict=True)
        }
        outcomes: dict[DifferenceOutcome, int] = defaultdict(int)
        rows: dict[DifferenceOutcome, list[UUID]] = defaultdict(list)
        for number, (case, _) in enumerate(found):
            outcomes[outcome_of[case.name]] += 1
            if number < len(ids):
                rows[outcome_of[case.name]].append(ids[number])
        await self._findings.conclude(outcomes, rows)


def _told(truth: Truth, case: _Case) -> list[FoundDifference]:
    license_id = None if case.expected is None else case.expected.license_id
    difference = case.difference
    told = []
    if difference.document is not None:
        expected = None if case.expected is None else case.expected.stamp
        told.append(
            FoundDifference(truth.subject, difference.document, case.name, license_id, expected, difference.found)
        )
    if difference.lease is not None and case.expected is not None:
        said = (
            None
            if case.expected.lease is None
            else f"signed at {rfc3339(datetime.fromtimestamp(case.expected.lease.signed_at, UTC))}"
        )
        told.append(FoundDifference("lease", difference.lease, case.name, license_id, said, None))
    for resource, fault in difference.totals.items():
        total = case.expected.totals.get(resource) if case.expected else None
        expected = None if total is None else f"{resource}={total.used}/{total.epoch}:{total.version}"
        raw = case.stored.totals[resource]
        found = f"{resource}={_shown(raw.used)}/{_shown(raw.stamp)}"
        told.append(FoundDifference("total", fault, case.name, license_id, expected, found))
    return told


def _shown(raw: bytes) -> str:
    """A raw value of the hot store for people: shortened, and always text."""
    return raw.removeprefix(b"=")[:60].decode(errors="replace").replace("\0", "�")


def _repair(truth: Truth, case: _Case) -> Repair:
    document = None
    if case.difference.document is not None:
        document = truth.nothing(case.name) if case.expected is None else case.expected.packed
    totals: Mapping[Resource, NewTotal] = {} if case.expected is None else case.expected.totals
    wanted = {resource: totals.get(resource) for resource in case.difference.totals}
    return Repair(case.name, case.stored, document, _lease_to_stand(case), wanted)


def _lease_to_stand(case: _Case) -> bytes | None:
    if case.difference.lease is None or case.expected is None or isinstance(case.expected.record, ApiKeyRecord):
        return None
    return codec.encode_lease(case.expected.lease or records.no_lease(case.expected.record))
