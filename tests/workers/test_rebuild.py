"""An empty hot store is filled from Postgres, and never says "loaded" before it is."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.writer import HotStoreWriter
from db.unit_of_work import Database
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.world import HotStore, an_api_key, eventually, many_licenses
from workers.rebuild import Rebuild, runs
from workers.relay import Relay

LICENSES = 600
PAGE = 20


@pytest.fixture
async def digests(desk: Desk, database_urls: DatabaseUrls) -> list[bytes]:
    return await many_licenses(database_urls, await desk.a_user(), LICENSES)


@pytest.fixture
def rebuild(database: Database, writer: HotStoreWriter) -> Rebuild:
    return Rebuild(database, writer, page=PAGE)


async def lacking(store: HotStore, digests: Sequence[bytes], buckets: set[int]) -> list[bytes]:
    """Licences of these buckets that a validator would not find."""
    return [digest for digest in digests if digest[0] in buckets and await store.license(digest) is None]


async def test_a_flushed_store_is_filled_again(
    rebuild: Rebuild, digests: list[bytes], hot_store: HotStore, redis: Redis, desk: Desk, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    await an_api_key(database_urls, issued, "k-of-one")
    assert await rebuild.look()
    await redis.flushall()
    assert await rebuild.look()
    assert rebuild.complete
    assert len(await hot_store.loaded()) == keys.BUCKETS
    for digest in digests:
        record = await hot_store.license(digest)
        assert record is not None
        assert record.limits["databases"] == 5
        assert await hot_store.used(digest, "databases") == 1
    key = await hot_store.api_key("k-of-one")
    assert key is not None
    assert key.license_hash == issued.license.license_key_hash[: keys.HASH_BYTES]


async def test_a_bucket_is_marked_after_everything_in_it(
    rebuild: Rebuild, digests: list[bytes], hot_store: HotStore
) -> None:
    at_work = asyncio.create_task(rebuild.look())
    partly = 0
    while not at_work.done():
        loaded = await hot_store.loaded()
        assert await lacking(hot_store, digests, loaded) == []
        partly += 0 < len(loaded) < keys.BUCKETS
    assert await at_work
    assert partly  # the watch saw it grow


@pytest.mark.parametrize("flushed_after", [1, 5, LICENSES // PAGE])
async def test_a_flush_in_the_midst_does_not_end_as_loaded(
    database: Database,
    writer: HotStoreWriter,
    digests: list[bytes],
    hot_store: HotStore,
    redis: Redis,
    flushed_after: int,
) -> None:
    pages: list[int] = []
    reached = asyncio.Event()

    def applied(rows: int) -> None:
        pages.append(rows)
        if len(pages) == flushed_after:
            reached.set()

    rebuild = Rebuild(database, writer, page=PAGE, applied=applied)
    at_work = asyncio.create_task(rebuild.look())
    await reached.wait()
    await redis.flushall()
    await at_work
    assert await hot_store.loaded() == set()

    assert await rebuild.look()
    assert len(await hot_store.loaded()) == keys.BUCKETS
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == []


async def test_two_workers_rebuild_once(
    database: Database, writer: HotStoreWriter, digests: list[bytes], hot_store: HotStore
) -> None:
    applied: list[int] = []
    both = [Rebuild(database, writer, page=PAGE, applied=applied.append) for _ in range(2)]

    async def until_complete(rebuild: Rebuild) -> bool:
        return await eventually(rebuild.look)

    await asyncio.gather(*(until_complete(rebuild) for rebuild in both))
    assert sum(applied) == LICENSES
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == []


async def test_what_a_dead_worker_began_is_begun_again(
    rebuild: Rebuild, writer: HotStoreWriter, digests: list[bytes], hot_store: HotStore
) -> None:
    tokens = await writer.begin_rebuild(range(keys.BUCKETS), holds_lost=False)
    assert await rebuild.look()
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == []
    assert not await writer.mark_loaded(7, tokens[7])  # should the dead one rise


async def test_only_what_is_missing_is_rebuilt(
    database: Database, writer: HotStoreWriter, digests: list[bytes], hot_store: HotStore, redis: Redis
) -> None:
    applied: list[int] = []
    rebuild = Rebuild(database, writer, page=PAGE, applied=applied.append)
    assert await rebuild.look()
    applied.clear()
    gone = {0, 8, 9, 255}
    for bucket in gone:
        await redis.delete(keys.mark(bucket))
    for digest in digests:
        if digest[0] in gone:
            await redis.delete(keys.document(keys.short_hash(digest)))
    assert await rebuild.look()
    assert sum(applied) == sum(digest[0] in gone for digest in digests) > 0
    assert await lacking(hot_store, digests, gone) == []


async def test_changes_meanwhile_are_not_lost(
    database: Database,
    writer: HotStoreWriter,
    digests: list[bytes],
    hot_store: HotStore,
    database_urls: DatabaseUrls,
) -> None:
    rebuild = Rebuild(database, writer, page=PAGE)
    relay = Relay(database, writer, utc_now, complete=lambda: rebuild.complete)
    at_work = asyncio.create_task(rebuild.look())
    limit = 5
    while not at_work.done():
        limit += 1
        await change(database_urls, "UPDATE licenses SET max_databases = :limit", limit=limit)
        await relay.catch_up()
    assert await at_work
    for digest in digests:
        record = await hot_store.license(digest)
        assert record is not None
        assert record.limits["databases"] == limit


async def test_reservations_wait_only_where_some_may_have_been_lost(
    rebuild: Rebuild, hot_store: HotStore, redis: Redis, api_database: Database
) -> None:
    assert await rebuild.look()
    assert not await hot_store.holding_back()  # nothing was ever promised
    await redis.flushall()
    assert await rebuild.look()
    assert not await hot_store.holding_back()  # and nothing since, as the server's own count says
    await redis.hsetnx("a", "hold", "1")  # type: ignore[misc]  # redis-py types both of its clients at once
    await redis.flushall()
    assert await rebuild.look()
    assert await hot_store.holding_back()


async def test_one_broken_row_does_not_keep_the_rest_out(
    rebuild: Rebuild, digests: list[bytes], hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    broken = digests[17]
    await change(
        database_urls, "UPDATE licenses SET license_key_hash = '\\x1234' WHERE license_key_hash = :h", h=broken
    )
    assert await rebuild.look()
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == [broken]


async def test_missing_functions_are_loaded_first(rebuild: Rebuild, hot_store: HotStore) -> None:
    await hot_store.forget_functions()
    assert not await rebuild.look()
    assert await rebuild.look()


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ([], []),
        (range(256), [(0, 256)]),
        ([3, 4, 5, 9], [(3, 6), (9, 10)]),
        ([255, 0], [(0, 1), (255, 256)]),
    ],
)
def test_buckets_in_runs(buckets: Sequence[int], expected: list[tuple[int, int]]) -> None:
    assert list(runs(buckets)) == expected
