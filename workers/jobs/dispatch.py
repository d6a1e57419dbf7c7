"""Dispatch of partner jobs: each is performed until it is done or dead, by one worker at a time.

claim     In a transaction of its own (db/outbox.py). Until the claim ends, every other worker finds the job not due.
perform   The kind's handler reads the present state, and may run again at any time. It is stopped before the claim
          ends, so that two workers never perform one job.
outcome   Done; or due again after a pause; or dead (workers/jobs/retries.py).

Each kind has room of its own, a limit of jobs at a time. A partner that does not answer holds the room of its jobs
until their claims end. With one room for all, a few webhooks on a silent Stripe would keep back every mail.

A kind that this release does not know belongs to a newer one: it is set aside, visible, and no attempt is counted.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from core.errors import Refusal
from core.jobs import Job, from_row
from core.telemetry import logger
from db import outbox
from db.outbox import Claim
from db.unit_of_work import Database, SystemTransaction
from workers.jobs import retries

JobT = TypeVar("JobT", bound=Job)
JobOutcome = Literal["done", "retry", "dead", "unknown"]

_LOOKING_AT_ONCE: Final = 2
_OF_THE_CLAIM: Final = 0.8
_UNKNOWN_KIND_SECONDS: Final = 60.0
_LONGEST_ERROR: Final = 1000


async def _no_trace(_tx: SystemTransaction, _job: Any, _reason: str) -> None:
    """Most kinds leave no trace but the dead job itself."""


@dataclass(frozen=True)
class Work(Generic[JobT]):
    """How one kind of job is performed. `claim_seconds`: after a crash nobody tries again before they have passed."""

    kind: type[JobT]
    perform: Callable[[JobT], Awaitable[None]]
    claim_seconds: float
    at_once: int = 4
    """Its room: jobs at a time."""
    connections: int = 1
    """What one job holds at most. workers/jobs/connection_budget.py declares both, and sums them up for the pool."""
    attempts: int = retries.ABOUT_A_DAY
    on_death: Callable[[SystemTransaction, JobT, str], Awaitable[None]] = _no_trace
    """Shows people that the job was given up, in the transaction that marks it dead."""


class Dispatcher:
    def __init__(
        self,
        database: Database,
        works: Iterable[Work[Any]],
        *,
        performed: Callable[[str, JobOutcome], None] = lambda _kind, _outcome: None,
    ) -> None:
        """`performed` is told each kind's outcomes."""
        self._database = database
        self._works = {work.kind: work for work in works}
        self._rooms = {_tag(kind): asyncio.Semaphore(work.at_once) for kind, work in self._works.items()}
        self._unknown = asyncio.Semaphore(1)
        self._looking = asyncio.Semaphore(_LOOKING_AT_ONCE)
        self._performed = performed
        self.running = 0
        """Jobs that are being performed."""

    async def perform(self, outbox_id: int) -> None:
        """Returns when there is nothing (more) to do for it now. Raises only where Postgres is away."""
        room = await self._room_for(outbox_id)
        if room is not None:
            await self._perform_in(room, outbox_id)

    async def perform_if_room(self, outbox_id: int) -> bool:
        """As `perform`, but never waits for room: False where the job's kind has none."""
        room = await self._room_for(outbox_id)
        if room is None:
            return True
        if room.locked():
            return False
        await self._perform_in(room, outbox_id)
        return True

    async def _room_for(self, outbox_id: int) -> asyncio.Semaphore | None:
        """None where there is nothing to do for it now."""
        async with self._looking, self._database.as_system() as tx:
            kind = await outbox.kind_of_due_job(tx.session, outbox_id)
        return None if kind is None else self._rooms.get(kind, self._unknown)

    async def _perform_in(self, room: asyncio.Semaphore, outbox_id: int) -> None:
        async with room:
            async with self._database.as_system() as tx:
                claimed = await self._claim(tx, outbox_id)
            if claimed is not None:
                await self._count(self._carry_out(*claimed))

    async def _count(self, performing: Awaitable[None]) -> None:
        self.running += 1
        try:
            await performing
        finally:
            self.running -= 1

    async def _claim(self, tx: SystemTransaction, outbox_id: int) -> tuple[Work[Any], Job, Claim] | None:
        claim = await outbox.lock_partner_job(tx.session, outbox_id)
        if claim is None:
            return None
        try:
            job = from_row(claim.job)
            work = self._works[type(job)]
        except (msgspec.ValidationError, KeyError) as failure:
            kind = str(claim.job.get("type"))
            logger().warning("job.unknown", outbox_id=outbox_id, kind=kind, error=str(failure))
            error = f"this release cannot perform {kind!r}: {failure}"[:_LONGEST_ERROR]
            await outbox.set_aside(tx.session, outbox_id, error, _UNKNOWN_KIND_SECONDS, counted=False)
            self._performed("unknown", "unknown")
            return None
        return work, job, await outbox.claim_job(tx.session, claim, work.claim_seconds)

    async def _carry_out(self, work: Work[Any], job: Job, claim: Claim) -> None:
        try:
            async with asyncio.timeout(work.claim_seconds * _OF_THE_CLAIM):
                await work.perform(job)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(claim))
            raise
        except Exception as failure:  # noqa: BLE001  whatever a handler raises is this attempt's outcome
            outcome = await self._record_failure(work, job, claim, failure)
        else:
            outcome = "done"
            async with self._database.as_system() as tx:
                await outbox.finish(tx.session, claim)
        self._performed(_kind(job), outcome)
        logger().info("job.performed", outbox_id=claim.id, kind=_kind(job), attempt=claim.attempt, outcome=outcome)

    async def _record_failure(self, work: Work[Any], job: Job, claim: Claim, failure: Exception) -> JobOutcome:
        dead = retries.is_last(claim.attempt, work.attempts, failure)
        error = _told(failure)
        facts = {"outbox_id": claim.id, "kind": _kind(job), "attempt": claim.attempt, "error": error, "dead": dead}
        unforeseen = not isinstance(failure, Refusal | TimeoutError)
        logger().warning("job.failed", **facts, exc_info=failure if unforeseen else None)
        async with self._database.as_system() as tx:
            if not dead:
                await outbox.retry(tx.session, claim, error, retries.pause(claim.attempt, failure))
            elif await outbox.bury(tx.session, claim, error):
                await work.on_death(tx, job, error)
        return "dead" if dead else "retry"

    async def _give_back(self, claim: Claim) -> None:
        """For a process that is stopping: the next one need not wait for the claim to end."""
        async with self._database.as_system() as tx:
            await outbox.retry(tx.session, claim, "stopped while it ran", 0)


def _told(failure: Exception) -> str:
    """The failure for an admin to read. Characters that PostgreSQL's text cannot hold are escaped."""
    if isinstance(failure, Refusal):
        said = failure.detail
    elif isinstance(failure, TimeoutError):
        said = "it took longer than its claim allows"
    else:
        said = f"{type(failure).__name__}: {failure}"
    return said.encode(errors="backslashreplace").decode().replace("\0", r"\0")[:_LONGEST_ERROR]


def _kind(job: Job) -> str:
    return _tag(type(job))


def _tag(kind: type[Job]) -> str:
    return str(kind.__struct_config__.tag)
