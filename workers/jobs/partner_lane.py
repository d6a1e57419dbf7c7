"""The partner lane: finds due jobs, and sees to it that a worker performs each.

A job that just fell due is announced to the queue, where a worker with room takes it. The announcement is only a hint:
it may be lost with Redis, be stuck behind a crashed worker's mark, or never be picked up. So a job that is still due
half a second later is performed right here, without the queue. The claim in Postgres keeps the two from colliding.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from redis.exceptions import RedisError

from core.parts import step, succeeded
from core.telemetry import logger
from db import outbox
from db.unit_of_work import Database
from workers.jobs.dispatch import Dispatcher
from workers.process.supervision import Wakeup

_LOOK_EACH: Final = 1.0
_HINT_COUNTS_FOR: Final = 0.5
_MOST_AT_A_LOOK: Final = 200
_STOP_WITHIN: Final = 5.0


class Queue(Protocol):
    async def announce(self, outbox_ids: Sequence[int]) -> None:
        """Hints that these are due; may raise where the queue is away."""


class PartnerLane:
    def __init__(self, database: Database, dispatcher: Dispatcher, queue: Queue) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._queue = queue
        self._running: dict[int, asyncio.Task[None]] = {}
        self.wakeup = Wakeup()

    async def run(self) -> None:
        try:
            while True:
                await self.look()
                succeeded()
                await self.wakeup.wait(_LOOK_EACH)
        finally:
            await self._stop()

    async def look(self) -> None:
        """Announces what is newly due, performs what no worker took."""
        async with step(), self._database.as_system() as tx:
            due = await outbox.due_partner_jobs(tx.session, _MOST_AT_A_LOOK)
        fresh = [job.id for job in due if job.overdue < _HINT_COUNTS_FOR]
        left = [job.id for job in due if job.overdue >= _HINT_COUNTS_FOR]
        try:
            await self._queue.announce(fresh)
        except (RedisError, OSError) as failure:
            logger().warning("queue.away", error=type(failure).__name__, jobs=len(fresh))
            left += fresh
        for outbox_id in left:
            self._perform(outbox_id)

    async def perform_due(self, within: float) -> None:
        """Performs here and now what is due, without the queue; returns when it is done, or after so many seconds."""
        async with step(), self._database.as_system() as tx:
            due = await outbox.due_partner_jobs(tx.session, _MOST_AT_A_LOOK)
        for job in due:
            self._perform(job.id)
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=max(within, 0))

    @property
    def running(self) -> int:
        """Jobs that are being performed, also those that the queue has handed out."""
        return self._dispatcher.running

    async def take(self, outbox_id: int) -> None:
        """For the queue. A job whose kind has no room waits here: its place in the queue is for others."""
        if not await self._dispatcher.perform_if_room(outbox_id):
            self._perform(outbox_id)

    def _perform(self, outbox_id: int) -> None:
        if outbox_id not in self._running:
            task = asyncio.create_task(self._dispatcher.perform(outbox_id))
            self._running[outbox_id] = task
            task.add_done_callback(lambda done: self._ended(outbox_id, done))

    def _ended(self, outbox_id: int, task: asyncio.Task[None]) -> None:
        del self._running[outbox_id]
        if not task.cancelled() and (failure := task.exception()):
            # Its claim runs out, and it is found again.
            logger().warning(
                "job.outcome_lost", outbox_id=outbox_id, error=f"{type(failure).__name__}: {failure}"[:300]
            )

    async def _stop(self) -> None:
        """Lets running jobs end, for a while; the rest give their claims back."""
        tasks = list(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
