"""Health probe of a Redis server."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.health import Dependency
from core.hotstore import condition
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.full_disk import SurvivingValkey, full_disk
from tests.support.servers import running
from tests.validator.stage import Projection


async def test_a_server_says_whether_it_takes_writes(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    with running(server, tmp_path / "log"):
        async with Redis.from_url(server.url) as redis:
            assert await condition.look(redis) is Dependency.OK
            await redis.execute_command("REPLICAOF", "127.0.0.1", str(choose("127.0.0.1")))
            assert await condition.look(redis) is Dependency.READ_ONLY
            await redis.execute_command("REPLICAOF", "NO", "ONE")
            assert await condition.look(redis) is Dependency.OK


@pytest.mark.parametrize(
    ("refuses", "takes"),
    [
        (("CONFIG SET", "min-replicas-to-write", "1"), ("CONFIG SET", "min-replicas-to-write", "0")),
        (("ACL SETUSER", "default", "-set"), ("ACL SETUSER", "default", "+set")),
    ],
    ids=["too few replicas", "no right to write"],
)
async def test_a_primary_that_takes_no_writes_is_unfit_though_it_does_not_say_so(
    tmp_path: Path, refuses: Sequence[str], takes: Sequence[str]
) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    with running(server, tmp_path / "log"):
        async with Redis.from_url(server.url) as redis:
            await redis.execute_command(*refuses)
            assert await condition.look(redis) is Dependency.UNFIT
            await redis.execute_command(*takes)
            assert await condition.look(redis) is Dependency.OK


async def test_a_hot_store_that_is_empty_or_was_emptied_is_loading(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    with running(server, tmp_path / "log"):
        async with Redis.from_url(server.url) as redis:
            projection = Projection(redis)
            for _ in range(2):
                assert await condition.look_at_hot_store(redis, projection.writer.client) is Dependency.LOADING
                await projection.load()
                assert await condition.look_at_hot_store(redis, projection.writer.client) is Dependency.OK
                await redis.flushall()


async def test_a_server_whose_disk_is_full_is_unfit(tmp_path: Path) -> None:
    server = SurvivingValkey(data=tmp_path / "valkey", port=choose("127.0.0.1"))
    with running(server, tmp_path / "log") as process:
        async with Redis.from_url(server.url) as redis:

            async def written_until(state: Dependency) -> None:
                async with asyncio.timeout(10):
                    while await condition.look(redis) is not state:
                        with suppress(ResponseError):  # MISCONF
                            await redis.set("one", "two")
                        await asyncio.sleep(0.05)

            with full_disk(process):
                await written_until(Dependency.UNFIT)
            await written_until(Dependency.OK)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"role": "master", "loading": 0}, Dependency.OK),
        ({"role": "master", "loading": 1}, Dependency.LOADING),
        ({"role": "slave", "loading": 0}, Dependency.READ_ONLY),
        ({}, Dependency.OK),
    ],
)
def test_what_it_says_is_enough(facts: Mapping[str, Any], state: Dependency) -> None:
    assert condition.of(facts) is state
