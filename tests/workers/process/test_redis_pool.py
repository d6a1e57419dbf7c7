"""Redis pool: a task that waits for Redis can be cancelled."""

import asyncio
import random

import pytest
from redis.asyncio import Redis

from workers.process.redis_pool import redis_pool


async def test_a_cancellation_is_never_lost(valkey: str) -> None:
    """With redis-py's own socket_timeout one in five was, on Python 3.11."""
    async with Redis.from_pool(redis_pool(valkey)) as redis:

        async def work() -> None:
            while True:
                await redis.ping()

        for _ in range(100):
            task = asyncio.create_task(work())
            await asyncio.sleep(random.uniform(0, 0.005))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 5)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/3", "unix:///run/valkey.sock?db=3"])
async def test_every_kind_of_address_makes_connections(url: str) -> None:
    pool = redis_pool(url)
    connection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py left it untyped
    assert connection.db == 3
    assert connection.socket_timeout is None
    await pool.aclose()
