"""Queue of hints (arq): from the worker that saw a job to one with room for it. It also starts periodic tasks.

Nothing depends on it. It may drop a hint, double it, or be away with its Redis: Postgres knows what is to be done, and
workers/jobs/partner_lane.py finds what no hint announced. Messages are msgpack: arq's default, pickle, would let
everybody who can write to Redis run code here. No result is kept, because it would keep a second announcement of the
same job away. And arq does not repeat a crashed job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Any, Final

import msgspec
from arq.connections import ArqRedis
from arq.cron import CronJob
from arq.worker import Worker, func
from redis.asyncio.client import Pipeline
from typing_extensions import override

from core.parts import step, succeeded
from workers.process.redis_pool import redis_pool

NAME: Final = "arq:partner"
_POLL_SECONDS: Final = 0.05
_JOB_TIMEOUT: Final = 300
_HINT_LIVES_SECONDS: Final = 60
_ANNOUNCED_WITHIN: Final = 2.0
_STOP_WITHIN: Final = 5.0
_UNWATCH_WITHIN: Final = 1.0
_encode: Final = msgspec.msgpack.Encoder(enc_hook=repr).encode
_decode: Final = msgspec.msgpack.Decoder().decode


class _Pipeline(Pipeline):
    """A pipeline that gives its connection back however it ends.

    redis-py waits for an answer to UNWATCH first. Cancelled there, it keeps the connection; and it would wait for a
    silent server without end.
    """

    @override
    async def reset(self) -> None:
        try:
            async with asyncio.timeout(_UNWATCH_WITHIN):
                await super().reset()  # type: ignore[no-untyped-call]  # redis-py left it untyped
        except TimeoutError:  # not raised: it would take the place of a cancellation
            await self._drop()
        except BaseException:
            await self._drop()
            raise

    async def _drop(self) -> None:
        """A server forgets what a connection watched when it is closed."""
        connection, self.connection, self.watching = self.connection, None, False
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self.connection_pool.release(connection)


class _Redis(ArqRedis):
    @override
    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class ArqQueue:
    def __init__(
        self, redis_url: str, perform: Callable[[int], Awaitable[None]], crons: Sequence[CronJob], *, at_once: int = 10
    ) -> None:
        self._pool = redis_pool(redis_url)
        self.redis: Final = _Redis(
            pool_or_conn=self._pool, job_serializer=_encode, job_deserializer=_decode, default_queue_name=NAME
        )
        self._perform = perform
        self._crons = crons
        self._at_once = at_once

    async def announce(self, outbox_ids: Sequence[int]) -> None:
        """A job that is announced twice is in the queue once."""
        hints = (
            self.redis.enqueue_job("perform", outbox_id, _job_id=str(outbox_id), _expires=_HINT_LIVES_SECONDS)
            for outbox_id in outbox_ids
        )
        async with asyncio.timeout(_ANNOUNCED_WITHIN):
            await asyncio.gather(*hints)

    async def depth(self) -> int:
        return int(await self.redis.zcard(NAME))

    async def run(self) -> None:
        """Takes hints until Redis goes away or this is cancelled; then lets the running jobs end."""
        async with step():
            await self.redis.ping()
        worker = self._worker()
        try:
            await worker.async_run()
        finally:
            worker.allow_pick_jobs = False
            await _let_end(list(worker.tasks.values()))

    async def close(self) -> None:
        await self.redis.aclose()
        await self._pool.aclose()

    def _worker(self) -> Worker:
        async def perform(ctx: dict[Any, Any], *outbox_ids: Any, **_: Any) -> None:  # noqa: ARG001  arq's calling convention
            for outbox_id in outbox_ids:
                await self._perform(outbox_id)

        return _Worker(
            functions=[func(perform, name="perform", max_tries=1)],
            cron_jobs=self._crons,
            queue_name=NAME,
            redis_pool=self.redis,
            handle_signals=False,
            poll_delay=_POLL_SECONDS,
            max_jobs=self._at_once,
            job_timeout=_JOB_TIMEOUT,
            keep_result=0,
            log_results=False,
            job_serializer=_encode,
            job_deserializer=_decode,
            timezone=UTC,
        )


class _Worker(Worker):
    """Each look into the queue counts as a round of the part that runs it."""

    @override
    async def _poll_iteration(self) -> None:
        async with step():
            await super()._poll_iteration()
        succeeded()


async def _let_end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_STOP_WITHIN)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
