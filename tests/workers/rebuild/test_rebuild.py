"""Rebuild: an empty hot store is filled from Postgres, and never says "loaded" too early."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
from redis.asyncio import Redis

from core.clock import utc_now
from core.hotstore import codec, keys
from core.hotstore.writer import UsageTotal, Writer
from db.unit_of_work import Database
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.world import HotStore, an_api_key, eventually, many_licenses
from workers.projection.lease_signer import Leases
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild
from workers.reconciliation.buckets import runs

LICENSES = 600
PAGE = 20


@pytest.fixture
async def digests(desk: Desk, database_urls: DatabaseUrls) -> list[bytes]:
    return await many_licenses(database_urls, await desk.a_user(), LICENSES)


@pytest.fixture
def rebuild(database: Database, writer: Writer) -> Rebuild:
    return Rebuild(database, writer, page=PAGE)


async def lacking(store: HotStore, digests: Sequence[bytes], buckets: set[int]) -> list[bytes]:
    """Licenses of these buckets that a validator would not find."""
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
    looks = 0
    while not at_work.done():
        loaded = await hot_store.loaded()
        assert await lacking(hot_store, digests, loaded) == []
        looks += 1
    assert await at_work
    assert looks


@pytest.mark.parametrize("flushed_after", [1, 5, LICENSES // PAGE])
async def test_a_flush_in_the_midst_does_not_end_as_loaded(
    database: Database,
    writer: Writer,
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
    database: Database, writer: Writer, digests: list[bytes], hot_store: HotStore
) -> None:
    applied: list[int] = []
    both = [Rebuild(database, writer, page=PAGE, applied=applied.append) for _ in range(2)]

    async def until_complete(rebuild: Rebuild) -> bool:
        return await eventually(rebuild.look)

    await asyncio.gather(*(until_complete(rebuild) for rebuild in both))
    assert sum(applied) == LICENSES
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == []


async def test_what_a_dead_worker_began_is_begun_again(
    rebuild: Rebuild, writer: Writer, digests: list[bytes], hot_store: HotStore
) -> None:
    tokens = await writer.begin_rebuild(range(keys.BUCKETS), holds_lost=False)
    assert await rebuild.look()
    assert await lacking(hot_store, digests, set(range(keys.BUCKETS))) == []
    assert not await writer.mark_loaded(7, tokens[7])  # should the dead one rise


async def test_only_what_is_missing_is_rebuilt(
    database: Database, writer: Writer, digests: list[bytes], hot_store: HotStore, redis: Redis
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
    writer: Writer,
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


async def everything(redis: Redis) -> dict[bytes, object]:
    """What the projection holds of licenses, byte by byte."""
    found: dict[bytes, object] = {}
    for name in [name async for name in redis.scan_iter("np[diul]:*")]:
        kind = (await redis.type(name)).decode()
        command = {"string": ("GET", name), "hash": ("HGETALL", name), "zset": ("ZRANGE", name, 0, -1)}[kind]
        said = await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py left it untyped
        found[name] = said
    return found


async def test_it_writes_byte_for_byte_what_the_relay_writes(
    database: Database, writer: Writer, redis: Redis, desk: Desk, database_urls: DatabaseUrls
) -> None:
    """By another way: rows without records in between, one call for many."""
    await many_licenses(database_urls, await desk.a_user(), 90)
    odd = (
        'features = \'{"ssl": true, "api": false, "support": "phone", "é": true, "n": 1}\', max_domains = 0',
        "features = '[]', max_emails = 2147483647, fingerprint_policy = 'required', fingerprint = 'ab:cd'",
        "status = 'suspended', fingerprint = ''",
        "expiry_date = now() + interval '1 day 0.000001 seconds', grace_until = now() + interval '9 days'",
        "status = 'cancelled', expiry_date = '2020-02-29T23:59:59.999999Z', activation_date = '1969-12-31T23:59:59.5Z'",
    )
    for number, values in enumerate(odd):
        await change(database_urls, f"UPDATE licenses SET {values} WHERE get_byte(license_key_hash, 9) % 6 = {number}")
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " SELECT id, resource, user_id, -3, 7 FROM licenses, unnest(ARRAY['emails', 'of_tomorrow']) AS resource"
        " WHERE get_byte(license_key_hash, 9) % 2 = 0",
    )
    for everything_changes in ("licenses SET auto_renew = NOT auto_renew", "license_usage SET used = used"):
        await change(database_urls, f"UPDATE {everything_changes}")
    await Relay(database, writer, utc_now, complete=lambda: False).catch_up()
    leases = Leases(database, writer, {"k": b"s" * 32}, utc_now)
    await leases.keep_up()
    await leases.sweep()
    by_the_relay = {name: said for name, said in (await everything(redis)).items() if not says_no_lease(name, said)}
    await redis.flushall()
    assert await Rebuild(database, writer).look()
    assert await everything(redis) == by_the_relay


def says_no_lease(name: bytes, said: object) -> bool:
    """The relay says so of licenses that do not stand; a rebuild says nothing, which means the same."""
    return name.startswith(b"npl:") and isinstance(said, bytes) and not codec.decode_lease(said).token


async def test_what_is_newer_stays_and_what_is_none_gives_way(
    rebuild: Rebuild, writer: Writer, digests: list[bytes], hot_store: HotStore, redis: Redis
) -> None:
    """A rebuild beside data: after a restart of the server, or of a relay that was faster."""
    assert await rebuild.look()
    newer, older, garbage, list_ = sorted(digests)[:4]
    record = await hot_store.license(newer)
    assert record is not None
    await writer.apply_licenses([(newer, msgspec.structs.replace(record, version=9))])
    await writer.apply_usage([UsageTotal(newer, "databases", 7, 1, 9)])
    for digest, packed in ((older, codec.encode_license(msgspec.structs.replace(record, version=0))), (garbage, b"x")):
        await redis.set(keys.document(keys.short_hash(digest)), packed)
    await redis.delete(document := keys.document(keys.short_hash(list_)))
    await redis.rpush(document, "a list")  # type: ignore[misc]  # redis-py types both of its clients at once
    await redis.set(keys.usage(keys.short_hash(list_)), "no hash")
    await redis.delete(*(keys.mark(digest[0]) for digest in digests))
    assert await rebuild.look()
    kept = await hot_store.license(newer)
    assert kept is not None
    assert (kept.version, await hot_store.used(newer, "databases")) == (9, 7)
    for digest in (older, garbage, list_):
        mended = await hot_store.license(digest)
        assert mended is not None
        assert (mended.version, await hot_store.used(digest, "databases")) == (1, 1)


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
