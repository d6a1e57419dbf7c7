"""Hold watch: after a loss nothing may be reserved for a minute, unless no hold can have been lost."""

import pytest
from redis.asyncio import Redis

from core.clock import unix_time
from core.hotstore import functions, keys
from core.hotstore.snapshot import reserve_keys
from core.hotstore.writer import Writer
from db.unit_of_work import Database
from tests.support.people import Desk
from workers.projection.hold_watch import HoldWatch
from workers.rebuild.rebuild import Rebuild


class Ticks:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def watch(writer: Writer, ticks: Ticks) -> HoldWatch:
    return HoldWatch(writer, ticks)


async def reserve(redis: Redis, writer: Writer, digest: bytes, reservation_id: str) -> bytes:
    """What a validator asks for."""
    h = keys.short_hash(digest)
    names = reserve_keys(h)
    run_id = (await writer.holds_made()).run_id[: keys.RUN_ID_LENGTH]
    await writer.publish_synced(1, now := unix_time())
    args = ("databases", 1, 30_000, reservation_id, 1, 1, run_id, int(now * 1000))
    answer: list[bytes] = await redis.fcall(functions.RESERVE, len(names), *names, *args)  # type: ignore[misc, arg-type]  # as above
    return answer[0]


async def test_reserving_is_what_the_server_counts(
    database: Database, writer: Writer, redis: Redis, desk: Desk
) -> None:
    digest = (await desk.a_license(await desk.a_user())).license.license_key_hash
    assert await Rebuild(database, writer).look()
    before = (await writer.holds_made()).holds
    assert await reserve(redis, writer, digest, "r-1") == b"granted"
    assert await reserve(redis, writer, digest, "r-1") == b"granted"
    assert (await writer.holds_made()).holds == before + 1
    await redis.flushall()
    assert (await writer.holds_made()).holds == before + 1


async def test_a_worker_that_has_just_started_cannot_know(watch: HoldWatch, ticks: Ticks) -> None:
    assert await watch.may_be_lost()
    ticks.now += keys.LONGEST_HOLD - 1
    assert await watch.may_be_lost()
    ticks.now += 1
    assert not await watch.may_be_lost()


async def test_a_hold_counts_for_a_minute_after_it_was_seen(watch: HoldWatch, ticks: Ticks, redis: Redis) -> None:
    await watch.nothing_was_ever_held()
    assert not await watch.may_be_lost()
    await redis.hsetnx("some", "hold", "1")  # type: ignore[misc]  # redis-py types both of its clients at once
    ticks.now += 3600
    assert await watch.may_be_lost(), "it may have been made a moment before this look"
    ticks.now += keys.LONGEST_HOLD
    assert not await watch.may_be_lost()


async def test_a_count_that_was_reset_is_no_quiet(watch: HoldWatch, ticks: Ticks, redis: Redis) -> None:
    await redis.hsetnx("some", "hold", "1")  # type: ignore[misc]  # redis-py types both of its clients at once
    await watch.look()
    ticks.now += keys.LONGEST_HOLD
    await redis.config_resetstat()
    assert await watch.may_be_lost()


async def test_after_a_flush_without_holds_reserving_goes_on_at_once(
    database: Database, writer: Writer, redis: Redis, desk: Desk
) -> None:
    digest = (await desk.a_license(await desk.a_user())).license.license_key_hash
    rebuild = Rebuild(database, writer)
    assert await rebuild.look()
    await redis.flushall()
    assert await rebuild.look()
    assert await reserve(redis, writer, digest, "r-1") == b"granted"
    await redis.flushall()
    assert await rebuild.look()
    assert await reserve(redis, writer, digest, "r-2") == b"not_ready", "r-1 may still be counted on"
