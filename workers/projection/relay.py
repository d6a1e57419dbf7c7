"""Outbox relay of the projection lane: a change that has committed in Postgres is in Redis a few milliseconds later.

One round is one transaction: take due rows (deleting them), read what they name, apply it to Redis, ask whether
anything is left, commit. A crash or an outage before the commit brings the rows back, and applying twice is harmless.
So Redis misses nothing, and may be told everything more than once.

A row that cannot be applied (a kind of a newer release, a value that makes no record) fails its whole round. Then the
rows are taken one by one, the broken ones are set aside with their error, and the rest goes on.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from redis.exceptions import DataError, RedisError, ResponseError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from core.clock import Clock
from core.counted import counted
from core.errors import Unavailable
from core.hotstore import functions
from core.hotstore.writer import Writer
from core.jobs import ProjectApiKey, ProjectionJob, ProjectLicense, ProjectUsage, from_row
from core.parts import step, succeeded
from core.telemetry import logger
from db import outbox
from db.outbox import Claim
from db.unit_of_work import Database
from workers.process.supervision import Wakeup
from workers.projection import records

BATCH: Final = 500
_LOOK_EACH: Final = 1.0
_GATHERING: Final = 0.02
_ROUND_WITHIN: Final = 30.0
_SET_ASIDE_SECONDS: Final = 30.0
_ABSENCES: Final = (RedisError, SQLAlchemyError, OSError, TimeoutError, Unavailable)


class _Round(NamedTuple):
    """The result of one round. `delays`: for each row, seconds from the beginning of its transaction to Redis."""

    delays: Sequence[float]
    more: bool
    """Whether it may have left due rows."""


class _CannotApply(Exception):
    """Some of these rows cannot be applied, though all servers are there."""

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__(f"of {counted(len(ids), 'row')}")
        self.ids = ids


class Relay:
    def __init__(
        self,
        database: Database,
        writer: Writer,
        clock: Clock,
        *,
        complete: Callable[[], bool],
        reigns: Callable[[], Iterable[str]] = tuple,
        projected: Callable[[Sequence[float]], None] = lambda _: None,
        changed: Callable[[Iterable[UUID]], None] = lambda _: None,
        batch: int = BATCH,
    ) -> None:
        """`complete`: whether the hot store holds everything; until then no instant is published, with its `reigns`.

        `projected` is told the delays of each round, in seconds; `changed`, which licenses it has applied.
        """
        self._database = database
        self._writer = writer
        self._clock = clock
        self._complete = complete
        self._reigns = reigns
        self._projected = projected
        self._changed = changed
        self._batch = batch
        self.wakeup = Wakeup()

    async def run(self) -> None:
        while True:
            applied = await self.catch_up()
            succeeded()
            if applied > 1:
                await asyncio.sleep(_GATHERING)  # there is traffic: rows that come meanwhile share a round
            await self.wakeup.wait(_LOOK_EACH)

    async def catch_up(self) -> int:
        """Applies all due rows, and publishes the instant up to which Redis is current; says how many rows."""
        applied = 0
        more = True
        while more:
            async with step(_ROUND_WITHIN):
                delays, more = await self._round()
            if delays:
                self._projected(delays)
            applied += len(delays)
        return applied

    async def _round(self) -> _Round:
        try:
            return await self._take_and_apply()
        except functions.FunctionsMissing:
            await self._writer.load_functions()
            return await self._take_and_apply()
        except _CannotApply as failure:
            return await self._one_by_one(failure.ids)

    async def _take_and_apply(self) -> _Round:
        async with self._database.as_system(by_index=True) as tx:
            claims = await outbox.take_projection(tx.session, self._batch)
            try:
                delays = await self._apply(tx.session, claims)
            except Exception as failure:
                if _is_absence(failure):
                    raise
                raise _CannotApply([claim.id for claim in claims]) from failure
            synced = await outbox.sync_point(tx.session)
            if self._complete():
                await self._writer.publish_synced(synced.epoch, synced.through, self._reigns())
        return _Round(delays, more=len(claims) == self._batch)

    async def _one_by_one(self, ids: Sequence[int]) -> _Round:
        """Each row in a transaction of its own, so that a broken row keeps back nothing else.

        A row that names several totals is divided first, so that only the broken total waits.
        """
        delays: list[float] = []
        for row_id in ids:
            try:
                async with self._database.as_system() as tx:
                    claim = await outbox.take_one_projection(tx.session, row_id)
                    if claim is not None:
                        delays += await self._apply(tx.session, [claim])
            except Exception as failure:
                if _is_absence(failure):
                    raise
                await self._set_aside(row_id, failure)
        return _Round(delays, more=True)

    async def _apply(self, session: AsyncSession, claims: Sequence[Claim]) -> list[float]:
        if not claims:
            return []
        rows = await records.read(session, [_projection_job(claim) for claim in claims])
        await rows.apply(self._writer)
        self._changed({record.license_id for _, record in rows.licenses})
        now = self._clock()
        return [(now - claim.created_at).total_seconds() for claim in claims]

    async def _set_aside(self, row_id: int, failure: Exception) -> None:
        async with self._database.as_system() as tx:
            if await outbox.divide_totals(tx.session, row_id):
                return  # the next round takes each of them
        # Never dead: the row has to reach Redis in the end, once a newer release or an admin has come.
        error = f"{type(failure).__name__}: {failure}"[:500]
        logger().error("projection.set_aside", outbox_id=row_id, error=error)
        async with self._database.as_system() as tx:
            await outbox.set_aside(tx.session, row_id, error, _SET_ASIDE_SECONDS, counted=True)


def _projection_job(claim: Claim) -> ProjectionJob:
    job = from_row(claim.job)
    if not isinstance(job, ProjectLicense | ProjectUsage | ProjectApiKey):
        raise ValueError(f"a job of the projection lane cannot be {claim.job.get('type')!r}")  # noqa: TRY004  the value is wrong, not our code
    return job


def _is_absence(failure: Exception) -> bool:
    """Whether a server is away, full or read-only, rather than a row being broken.

    Redis answers both with an error; those of the server begin with a code (OOM, READONLY, MISCONF, CLUSTERDOWN), those
    of a script or an argument with words, and WRONGTYPE is about one key.
    """
    if isinstance(failure, ResponseError):
        code = str(failure).partition(" ")[0]
        return type(failure) is not ResponseError or (code.isupper() and code != "WRONGTYPE")
    return isinstance(failure, _ABSENCES) and not isinstance(failure, DataError)
