"""Confirmation: a store with data of another reign is compared with Postgres before it is rebuilt or trusted."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from db.unit_of_work import Database
from devstack.ports import choose
from devstack.valkey import HOST, Valkey
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls, running
from tests.workers.world import HotStore, an_api_key, eventually, many_licenses
from workers.process.redis_pool import redis_pool
from workers.projection.relay import Relay
from workers.rebuild import confirmation
from workers.rebuild.rebuild import Rebuild

LICENSES = 60


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of its own: it changes its reign."""
    folder = tmp_path_factory.mktemp("confirmation")
    server = Valkey(data=folder, port=choose(HOST), fast=True)
    with running(server, folder / "log"):
        yield server


class Scene(NamedTuple):
    server: Valkey
    redis: Redis
    writer: Writer
    rebuild: Rebuild
    relay: Relay
    filled: list[int]
    """Rows of each page that a rebuild has brought."""
    digests: list[bytes]

    @property
    def store(self) -> HotStore:
        return HotStore(self.redis)

    def new_reign(self) -> None:
        assert self.server.call("REPLICAOF", HOST, "1").startswith("+OK")
        assert self.server.call("REPLICAOF", "NO", "ONE") == "+OK"

    async def dump(self, *names: str) -> dict[str, bytes | None]:
        return {name: await self.redis.dump(name) for name in names}

    async def put_back(self, dumped: dict[str, bytes | None]) -> None:
        """As an old file would."""
        for name, value in dumped.items():
            await self.redis.delete(name)
            if value is not None:
                await self.redis.restore(name, 0, value)


@pytest.fixture
async def scene(
    own_valkey: Valkey, database: Database, desk: Desk, database_urls: DatabaseUrls
) -> AsyncIterator[Scene]:
    own_valkey.call("REPLICAOF", "NO", "ONE")
    for words in (("CONFIG", "SET", "maxmemory-policy", "noeviction"), ("FLUSHALL",), ("FUNCTION", "FLUSH")):
        assert own_valkey.call(*words) == "+OK"
    digests = await many_licenses(database_urls, await desk.a_user(), LICENSES)
    await an_api_key(database_urls, await desk.a_license(await desk.a_user()), "k-of-one")
    filled: list[int] = []
    async with Redis.from_pool(redis_pool(own_valkey.url)) as redis:
        writer = Writer(HotStoreClient(redis))
        await writer.load_functions()
        rebuild = Rebuild(database, writer, applied=filled.append)
        relay = Relay(database, writer, utc_now, complete=lambda: rebuild.complete, reigns=lambda: rebuild.reigns)
        assert await rebuild.look()
        await relay.catch_up()
        filled.clear()
        yield Scene(own_valkey, redis, writer, rebuild, relay, filled, digests)


async def test_what_is_right_is_confirmed_and_nothing_is_filled(scene: Scene) -> None:
    scene.new_reign()
    assert len(await scene.writer.client.missing_buckets()) == keys.BUCKETS
    assert await scene.rebuild.look()
    assert scene.filled == []
    assert await scene.writer.client.missing_buckets() == []


async def test_what_is_older_is_mended(scene: Scene, database_urls: DatabaseUrls) -> None:
    h, other = (keys.short_hash(digest) for digest in scene.digests[:2])
    key = keys.api_key("k-of-one")
    before = await scene.dump(keys.document(h), keys.usage(other), key)
    await change(
        database_urls, "UPDATE licenses SET status = 'suspended' WHERE license_key_hash = :h", h=scene.digests[0]
    )
    await change(
        database_urls,
        "UPDATE license_usage SET used = 5, version = version + 1 WHERE license_id ="
        " (SELECT id FROM licenses WHERE license_key_hash = :h)",
        h=scene.digests[1],
    )
    await change(database_urls, "UPDATE api_keys SET is_active = false, version = version + 1")
    await scene.relay.catch_up()
    await scene.put_back(before)
    assert await scene.store.used(scene.digests[1], "databases") == 1
    scene.new_reign()
    assert await scene.rebuild.look()
    assert scene.filled == []
    record = await scene.store.license(scene.digests[0])
    assert record is not None
    assert record.status == "suspended"
    assert await scene.store.used(scene.digests[1], "databases") == 5
    api_key = await scene.store.api_key("k-of-one")
    assert api_key is not None
    assert not api_key.active


async def test_what_postgres_does_not_know_is_buried(scene: Scene) -> None:
    """A license key that was rotated after the file was written."""
    record = await scene.store.license(scene.digests[0])
    assert record is not None
    rotated = bytes(range(32))
    await scene.writer.apply_licenses([(rotated, record)])
    scene.new_reign()
    assert await scene.rebuild.look()
    left = await scene.store.license(rotated)
    assert left is not None
    assert left.tombstone


async def test_where_much_differs_it_is_filled(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "_MANY", 0)
    for digest in scene.digests:
        await scene.redis.delete(keys.document(keys.short_hash(digest)))
    scene.new_reign()
    assert await scene.rebuild.look()
    assert sum(scene.filled) >= LICENSES
    assert [digest for digest in scene.digests if await scene.store.license(digest) is None] == []


async def test_an_unconfirmed_server_is_not_told_that_nothing_is_left(scene: Scene) -> None:
    """The relay may be quicker than the look that finds out."""
    before = await scene.store.synced_through()
    scene.new_reign()
    await scene.relay.catch_up()
    assert await scene.store.synced_through() == before
    assert await scene.rebuild.look()
    await scene.relay.catch_up()
    assert (await scene.store.synced_through() or 0) > (before or 0)


async def test_an_unfit_server_gets_no_mark(scene: Scene) -> None:
    await scene.redis.flushall()
    await scene.redis.config_set("maxmemory-policy", "allkeys-lru")
    assert not await scene.rebuild.look()
    assert len(await scene.writer.client.missing_buckets()) == keys.BUCKETS
    assert scene.rebuild.unfit is not None
    assert "noeviction" in scene.rebuild.unfit
    await scene.redis.config_set("maxmemory-policy", "noeviction")
    assert await scene.rebuild.look()
    assert scene.rebuild.unfit is None


async def test_a_demoted_server_is_left(scene: Scene) -> None:
    before = {one["id"] for one in await scene.redis.client_list()}
    scene.server.call("REPLICAOF", HOST, "1")
    with pytest.raises(ReadOnlyError):
        await scene.writer.publish_synced(1, 1.0)
    assert not before & {one["id"] for one in await scene.redis.client_list()}
    assert not await scene.rebuild.look()
    assert not scene.rebuild.complete
    scene.server.call("REPLICAOF", "NO", "ONE")
    assert await eventually(scene.rebuild.look)


async def test_what_cannot_be_read_keeps_nobody_waiting(scene: Scene) -> None:
    """Bytes that are no record, a key of another type: as reconciliation mends them."""
    garbage, list_, totals = (keys.short_hash(digest) for digest in scene.digests[:3])
    await scene.redis.set(keys.document(garbage), b"\x92\x01")
    for name in (keys.document(list_), keys.usage(totals), keys.api_key("k-of-one")):
        await scene.redis.delete(name)
        await scene.redis.execute_command("LPUSH", name, "no record")  # type: ignore[no-untyped-call]  # left untyped
    scene.new_reign()
    assert await eventually(scene.rebuild.look)
    for digest in scene.digests[:2]:
        assert await scene.store.license(digest) is not None
    assert await scene.store.used(scene.digests[2], "databases") == 1
    assert await scene.store.api_key("k-of-one") is not None
