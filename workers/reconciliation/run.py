"""Reconciliation: compares Redis with Postgres, and totals with their events; repairs what it can.

The relay and the rebuild keep both stores equal. This finds out whether something else has changed one of them: a bug,
somebody in redis-cli, a database restored from a backup. A run

1. waits until buckets without their mark are rebuilt, and counts each as a difference; it does so again before each
   stride of step 2, because buckets may be lost meanwhile,
2. compares all licenses, leases, totals and API keys by digest (workers/reconciliation/screening.py), and repairs what
   differs (workers/reconciliation/repair.py),
3. walks through all keys for records that no index names, and repairs them in the same way,
4. compares the buckets whose turn it is field by field, which digests do not, and adds up their usage events again,
5. looks for changes that are not projected, and for holds whose reports were never finished.

Each minute it is another bucket's turn, so all have been compared after four hours; `make reconcile` takes all at once.
A sum of events that does not fit its total is evidence, and not repaired: a person has to find the cause.

One run at a time, under an advisory lock, for a schedule and a command alike. A run that is killed leaves a row that
says "running"; the next run marks it as broken off.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import timedelta
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.operations.reconciliation import repository
from billing_api.operations.reconciliation.repository import FoundDifference
from core.clock import Clock
from core.hotstore import functions, keys
from core.hotstore.comparison import Comparison
from core.hotstore.writer import Writer
from core.parts import beat, step, succeeded
from core.telemetry import logger
from db.models.reconciliation import RunState
from db.unit_of_work import Database
from workers.process.advisory_lock import only_one
from workers.reconciliation.buckets import runs
from workers.reconciliation.expected import (
    ApiKeyTruth,
    LicenseTruth,
    Truth,
)
from workers.reconciliation.findings import Findings, Told
from workers.reconciliation.repair import REPAIR_WITHIN, RecordRepair
from workers.reconciliation.screening import Screening

_ONE_AT_A_TIME: Final = 0x6E70_7263  # any constant: the holder of this advisory lock reconciles
_LOOK_EACH: Final = 5.0
_REBUILT_WITHIN: Final = 120.0
_ASK_AGAIN: Final = 0.5
_STUCK_AFTER: Final = 60
_MOST_STUCK: Final = 100
_KEEP_AGREED: Final = timedelta(days=7)
_FIRST_STRIDE: Final = 8
"""Buckets that one statement reads; of a million licenses that is 31,000."""
_FEW: Final = 10_000
"""Where a stride holds fewer records, the next one is twice as long."""

Progress = Callable[[str, int, int], None]
"""What is done, how far, of how many buckets."""


class RunReport(NamedTuple):
    run_id: UUID
    state: RunState
    counts: Counter[str]
    """By the columns of a run."""
    seconds: float


class Reconciliation:
    def __init__(
        self,
        database: Database,
        writer: Writer,
        clock: Clock,
        *,
        every: float,
        load: Callable[[], Awaitable[bool]],
        told: Told = lambda _subject, _fault: None,
        rebuilt_within: float = _REBUILT_WITHIN,
        repaired_within: float = REPAIR_WITHIN,
    ) -> None:
        """`every`: seconds from run to run. `load`: rebuilds what is missing; True once nothing is."""
        self._database = database
        self._comparison = Comparison(writer.client)
        self._writer = writer
        self._clock = clock
        self._every = every
        self._load = load
        self._told = told
        self._rebuilt_within = rebuilt_within
        self._repaired_within = repaired_within
        self._truths: tuple[Truth, ...] = (LicenseTruth(), ApiKeyTruth())

    async def run(self) -> None:
        """For ever; the worker that looks first when a run is due does it."""
        await asyncio.sleep(min(self._every, _LOOK_EACH))
        while True:
            if await self._due():
                await self.look("schedule", self._turn())
            succeeded()
            await asyncio.sleep(min(self._every, _LOOK_EACH))

    async def look(
        self, cause: str, thorough: Iterable[int], progress: Progress = lambda _what, _done, _of: None
    ) -> RunReport | None:
        """One run now; None where another one is under way. `thorough`: buckets to compare field by field."""
        began = monotonic()
        async with only_one(self._database, _ONE_AT_A_TIME) as alone:
            if not alone or (cause == "schedule" and not await self._due()):  # another worker may have just done it
                return None
            async with step(), self._database.as_system() as tx:
                await repository.forget_agreed(tx, _KEEP_AGREED)
                run_id = await repository.begin_run(tx, cause)
            findings = Findings(self._database, run_id, self._told)
            try:
                await self._compare(findings, list(thorough), progress)
            except Exception as failure:
                await self._end(run_id, "failed", findings, f"{type(failure).__name__}: {failure}"[:500])
                if isinstance(failure, functions.FunctionsMissing):
                    await self._writer.load_functions()
                raise
            await self._end(run_id, findings.state, findings, None)
        return RunReport(run_id, findings.state, findings.counts, monotonic() - began)

    async def _due(self) -> bool:
        async with step(), self._database.as_system() as tx:
            age = await repository.seconds_since_last(tx)
        return age is None or age >= self._every

    def _turn(self) -> list[int]:
        return [int(self._clock().timestamp() // self._every) % keys.BUCKETS]

    async def _end(self, run_id: UUID, state: RunState, findings: Findings, error: str | None) -> None:
        async with step(), self._database.as_system() as tx:
            await repository.end_run(tx, run_id, state, findings.counts, error)
        counts = dict(findings.counts)
        api_key_count = counts.pop("api_keys", 0)  # under that name a log shows nothing (core/redaction.py)
        logger().info("reconcile.done", state=state, error=error, api_key_count=api_key_count, **counts)

    async def _compare(self, findings: Findings, thorough: list[int], progress: Progress) -> None:
        screening = Screening(self._database, self._comparison)
        repair = RecordRepair(self._database, self._comparison, findings, within=self._repaired_within)
        all_there = True
        # Steps 1 and 2: stride by stride, longer ones where there are few records.
        for truth in self._truths:
            first, stride = 0, _FIRST_STRIDE
            while first < keys.BUCKETS:
                all_there = all_there and await self._rebuilt(findings)  # nothing is compared during a rebuild
                before = min(first + stride, keys.BUCKETS)
                screened = await screening.screen(truth.kind, first, before)
                findings.counts["licenses" if truth.subject == "license" else "api_keys"] += screened.size
                await repair.repair(truth, screened.suspects)
                progress(f"{truth.subject} digests", before, keys.BUCKETS)
                first, stride = before, stride * 2 if screened.size < _FEW else stride
        # Steps 3 to 5.
        await self._find_strays(findings, repair)
        done = 0
        for first, before in _strides(thorough):
            await self._prove(findings, repair, first, before)
            done += before - first
            progress("records and events", done, len(thorough))
        await self._find_stuck(findings)

    async def _find_strays(self, findings: Findings, repair: RecordRepair) -> None:
        """Keys that no index names: somebody SET one by hand, or took its name out.

        A key that cannot be one of ours is left alone: no validator asks for it, and its owner is not known.
        """
        suspects: dict[str, list[str]] = defaultdict(list)
        foreign: list[FoundDifference] = []
        async for key in self._comparison.strays():
            truth = next((truth for truth in self._truths if truth.kind.is_at(key)), None)
            if truth is not None:
                suspects[truth.subject].append(keys.parts(key)[2])
            elif len(foreign) < _MOST_STUCK:
                foreign.append(FoundDifference("key", "unknown", key[:200], found="no key of ours", outcome="evidence"))
        for truth in self._truths:
            await repair.repair(truth, suspects[truth.subject])
        if foreign:
            await findings.record(foreign)

    async def _find_stuck(self, findings: Findings) -> None:
        async with step(), self._database.as_system() as tx:
            jobs = await repository.stuck_jobs(tx, _STUCK_AFTER, _MOST_STUCK)
        pins = await self._writer.old_pins(_MOST_STUCK, seconds=_STUCK_AFTER)
        held = [
            FoundDifference(
                "pin", "stuck", f"{h} {reservation}", found=f"held for more than {_STUCK_AFTER} s", outcome="evidence"
            )
            for h, reservation in pins
        ]
        if jobs or held:
            await findings.record([*jobs, *held])

    async def _rebuilt(self, findings: Findings) -> bool:
        """Whether every bucket has its mark, or gets it again in time."""
        beat()
        missing = await self._writer.client.missing_buckets()
        if not missing:
            return True
        lacking = [
            FoundDifference("bucket", "missing", f"{first:02x}-{before - 1:02x}", expected="loaded", found="no mark")
            for first, before in runs(missing)
        ]
        ids = await findings.record(lacking)
        deadline = monotonic() + self._rebuilt_within
        while not (loaded := await self._load()) and monotonic() < deadline:  # noqa: ASYNC110  it is Redis that knows
            await asyncio.sleep(_ASK_AGAIN)
        if loaded:
            await findings.conclude({"repaired": len(lacking)}, {"repaired": ids})
        return loaded

    async def _prove(self, findings: Findings, repair: RecordRepair, first: int, before: int) -> None:
        """The buckets from `first` up to but not including `before`, field by field and event by event."""
        for truth in self._truths:
            async with step(), self._database.as_system() as tx:
                names = await truth.names(tx.session, first, before)
            findings.counts["records"] += len(names)
            await repair.repair(truth, await repair.differing(truth, names))
        async with step(), self._database.as_system() as tx:
            ledger = await repository.ledger(tx, first, before)
        findings.counts["events"] += ledger.events
        findings.counts["totals"] += ledger.totals
        if ledger.wrong:
            await findings.record(ledger.wrong)


def _strides(buckets: Iterable[int]) -> Iterator[tuple[int, int]]:
    for start, end in runs(buckets):
        for first in range(start, end, _FIRST_STRIDE):
            yield first, min(first + _FIRST_STRIDE, end)
