"""Health of a worker process: a dead part fails `live` and `ready`, and is named."""

from contextlib import AsyncExitStack

import msgspec

from core.parts import Parts
from core.settings import worker_settings
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls
from workers.runtime import Runtime


async def test_a_dead_part_fails_live_and_ready(database_urls: DatabaseUrls, valkey: str) -> None:
    parts = Parts()
    async with AsyncExitStack() as closing:
        health = Runtime(worker_settings(environment(database_urls, redis_url=valkey)), closing, parts).health
        assert (await health.live()).status == 200
        parts.add("relay").end("ValueError")
        live, ready = await health.live(), await health.ready()
    assert (live.status, ready.status) == (503, 503)
    told = msgspec.json.decode(live.body)
    assert told["status"] == "dead"
    assert told["parts"]["relay"] == {"state": "dead", "cause": "ValueError", "last_success": None}
    assert msgspec.json.decode(ready.body) == {"status": "unavailable", "reason": "dead_part", "lacking": ["relay"]}
