"""The relay: every committed change reaches the hot store soon, and may be applied twice."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from core.clock import unix_time, utc_now
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.jobs import Lane
from core.licensing.state import Status
from db import outbox
from db.unit_of_work import Database
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls, running
from tests.workers.world import HotStore, an_api_key, eventually, touch
from workers.process.listening import listen
from workers.process.supervision import keep_running
from workers.projection.relay import Relay


@pytest.fixture
def relay(database: Database, writer: Writer) -> Relay:
    return Relay(database, writer, utc_now, complete=lambda: True)


@asynccontextmanager
async def kept_running(relay: Relay, urls: DatabaseUrls | None = None) -> AsyncIterator[None]:
    """The relay as the process runs it; with `urls` it is woken by the database."""
    tasks = [asyncio.create_task(keep_running("relay", relay.run))]
    if urls is not None:
        wakers: dict[Lane, Callable[[], None]] = {"projection": relay.wakeup.wake}
        tasks.append(asyncio.create_task(keep_running("listen", lambda: listen(urls.worker, wakers))))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def waiting(urls: DatabaseUrls) -> int:
    return int((await rows(urls, "SELECT count(*) AS n FROM outbox WHERE lane = 'projection'"))[0]["n"])


async def nothing_waits(urls: DatabaseUrls) -> bool:
    return await waiting(urls) == 0


async def test_a_change_typed_into_psql_is_projected(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls, postgres: Postgres
) -> None:
    issued = await desk.a_license(await desk.a_user())
    async with kept_running(relay, database_urls):
        await eventually(lambda: hot_store.has_version(issued, 1))
        database = urlsplit(database_urls.owner).path[1:]
        postgres.run_sql(
            "UPDATE licenses SET status = 'suspended', max_databases = 7 WHERE id = :'id'",
            database,
            id=str(issued.license.id),
        )
        await eventually(lambda: hot_store.has_version(issued, 2))
    record = await hot_store.license(issued.license.license_key_hash)
    assert record is not None
    assert (record.status, record.limits["databases"]) == (Status.SUSPENDED, 7)


async def test_the_database_wakes_the_relay(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    """Without being woken the relay would look each second, so half a second late on average."""
    issued = await desk.a_license(await desk.a_user())
    delays = []
    async with kept_running(relay, database_urls):
        await eventually(lambda: hot_store.has_version(issued, 1))
        for version in range(2, 12):
            await touch(database_urls, issued)
            committed = time.monotonic()
            await eventually(lambda: hot_store.has_version(issued, version))  # noqa: B023  awaited in this very turn
            delays.append(time.monotonic() - committed)
    assert statistics.median(delays) < 0.2


async def test_a_storm_on_one_license_ends_at_its_last_version(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    seen: list[int] = []

    async def watch() -> bool:
        record = await hot_store.license(issued.license.license_key_hash)
        seen.append(0 if record is None else record.version)
        return seen[-1] == 101

    async def storm() -> None:
        for _ in range(25):
            await touch(database_urls, issued)

    async with kept_running(relay, database_urls):
        await asyncio.gather(eventually(watch, within=30), *(storm() for _ in range(4)))
        await eventually(lambda: nothing_waits(database_urls))
    assert all(earlier <= later for earlier, later in pairwise(seen))


async def test_two_relays_share_the_work(
    database: Database, writer: Writer, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    licenses = [await desk.a_license(user_id) for _ in range(30)]
    projected: list[int] = [0, 0]
    relays = []
    for which in range(2):

        def count(delays: object, which: int = which) -> None:
            projected[which] += len(list(delays))  # type: ignore[call-overload]  # a sequence of delays

        relays.append(Relay(database, writer, utc_now, complete=lambda: True, projected=count, batch=3))
    await change(database_urls, "UPDATE licenses SET auto_renew = NOT auto_renew")
    await asyncio.gather(*(relay.catch_up() for relay in relays))
    assert await nothing_waits(database_urls)
    assert sum(projected) == 60
    assert min(projected) > 0
    for issued in licenses:
        assert await hot_store.has_version(issued, 2)


async def test_rows_that_nobody_woke_for_are_swept_once_by_two_relays(
    database: Database, writer: Writer, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    """Neither of them is woken: both find what they look for each second."""
    issued = await desk.a_license(await desk.a_user())
    applied: list[float] = []
    relays = [Relay(database, writer, utc_now, complete=lambda: True, projected=applied.extend) for _ in range(2)]
    async with kept_running(relays[0]), kept_running(relays[1]):
        for version in (1, 2, 3):
            await eventually(lambda: hot_store.has_version(issued, version))  # noqa: B023  awaited in this very turn
            await touch(database_urls, issued)
        await eventually(lambda: nothing_waits(database_urls))
    assert len(applied) == 4


async def test_usage_and_keys_are_projected(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    await an_api_key(database_urls, issued, "k-used")
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " VALUES (:id, 'databases', :user, 3, 1), (:id, 'hovercrafts', :user, 1, 1)",
        id=issued.license.id,
        user=issued.license.user_id,
    )
    await relay.catch_up()
    digest = issued.license.license_key_hash
    assert await hot_store.used(digest, "databases") == 3
    assert await hot_store.used(digest, "hovercrafts") is None  # a newer release's resource is left to it
    key = await hot_store.api_key("k-used")
    assert key is not None
    assert key.active
    assert key.license_hash == digest[: keys.HASH_BYTES]
    assert key.permissions == {"validate", "usage"}  # "fly" is nothing that we could grant

    assert key.networks == ()

    await change(database_urls, "UPDATE license_usage SET used = 2 WHERE resource = 'databases'")
    await change(database_urls, "UPDATE api_keys SET is_active = false, networks = '[\"203.0.113.0/24\"]'")
    await relay.catch_up()
    assert await hot_store.used(digest, "databases") == 2
    key = await hot_store.api_key("k-used")
    assert key is not None
    assert not key.active
    assert key.networks == ("203.0.113.0/24",)


async def test_a_rotated_license_key_leads_nowhere_and_the_new_one_has_everything(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    await an_api_key(database_urls, issued, "k-rotated")
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version) VALUES (:id, 'emails', :user, 4, 1)",
        id=issued.license.id,
        user=issued.license.user_id,
    )
    await relay.catch_up()
    old, new = issued.license.license_key_hash, bytes(reversed(issued.license.license_key_hash))
    await change(database_urls, "UPDATE licenses SET license_key_hash = :new", new=new)
    await relay.catch_up()
    await relay.catch_up()  # the API keys, which the first look renewed
    retired, current, key = (
        await hot_store.license(old),
        await hot_store.license(new),
        await hot_store.api_key("k-rotated"),
    )
    assert retired is not None
    assert retired.tombstone
    assert current is not None
    assert not current.tombstone
    assert await hot_store.used(new, "emails") == 4
    assert key is not None
    assert key.license_hash == new[: keys.HASH_BYTES]


async def test_what_a_restore_says_wins_over_what_was_newer_before(
    relay: Relay, desk: Desk, hot_store: HotStore, writer: Writer, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    await relay.catch_up()
    digest = issued.license.license_key_hash
    record = await hot_store.license(digest)
    assert record is not None
    lost = type(record)(
        epoch=1, version=99, limits={}, license_id=record.license_id, status=Status.CANCELLED, tombstone=True
    )
    assert await writer.apply_licenses([(digest, lost)]) == 1
    await touch(database_urls, issued)
    await relay.catch_up()
    assert await hot_store.license(digest) == lost

    await change(database_urls, "UPDATE projection_epoch SET epoch = 2")
    try:
        await touch(database_urls, issued)
        await relay.catch_up()
    finally:
        await change(database_urls, "UPDATE projection_epoch SET epoch = 1")
    record = await hot_store.license(digest)
    assert record is not None
    assert (record.epoch, record.version, record.status) == (2, 3, Status.ACTIVE)


async def test_broken_rows_hold_nobody_up(
    relay: Relay, desk: Desk, hot_store: HotStore, redis: Redis, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    squatted, good = await desk.a_license(user_id), await desk.a_license(user_id)
    squatted_key = keys.document(keys.short_hash(squatted.license.license_key_hash))
    await redis.lpush(squatted_key, "not a document")  # type: ignore[misc]  # redis-py types one method for both of its clients
    broken = ({"type": "project_dream"}, {"type": "project_license"}, {"type": "deliver_mail", "mail_id": str(user_id)})
    for job in broken:
        await change(
            database_urls,
            "INSERT INTO outbox (lane, job) VALUES ('projection', cast(:job AS jsonb))",
            job=msgspec.json.encode(job).decode(),
        )
    began = unix_time()
    await relay.catch_up()

    assert await hot_store.has_version(good, 1)
    left = await rows(database_urls, "SELECT * FROM outbox WHERE lane = 'projection' ORDER BY id")
    assert len(left) == 4
    for row in left:
        assert row["attempts"] == 1
        assert row["last_error"]
        assert row["dead_at"] is None
        assert row["due_at"] > utc_now()
    assert "WRONGTYPE" in left[0]["last_error"]
    synced = await hot_store.synced_through()
    assert synced is not None
    assert synced >= began - 1

    await redis.delete(squatted_key)
    await change(database_urls, "UPDATE outbox SET due_at = now() WHERE lane = 'projection'")
    await relay.catch_up()
    assert await hot_store.has_version(squatted, 1)
    assert await waiting(database_urls) == 3


async def test_of_totals_that_changed_together_a_broken_one_waits_alone(
    relay: Relay, desk: Desk, hot_store: HotStore, redis: Redis, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    licenses = [await desk.a_license(user_id) for _ in range(30)]
    digests = [issued.license.license_key_hash for issued in licenses]
    await relay.catch_up()
    squatted = keys.usage(keys.short_hash(digests[7]))
    await redis.lpush(squatted, "not a total")  # type: ignore[misc]  # redis-py types one method for both of its clients
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " SELECT id, 'databases', user_id, 3, 1 FROM licenses",
    )
    assert await waiting(database_urls) == 2  # thirty totals, and no row names more than 25
    await relay.catch_up()

    others = [digest for digest in digests if digest != digests[7]]
    assert [await hot_store.used(digest, "databases") for digest in others] == [3] * 29
    (left,) = await rows(database_urls, "SELECT * FROM outbox WHERE lane = 'projection'")
    assert left["job"]["totals"] == [[str(licenses[7].license.id), "databases"]]
    assert "WRONGTYPE" in left["last_error"]

    await redis.delete(squatted)
    await change(database_urls, "UPDATE outbox SET due_at = now() WHERE lane = 'projection'")
    await relay.catch_up()
    assert await hot_store.used(digests[7], "databases") == 3
    assert await waiting(database_urls) == 0


async def test_a_hold_ends_with_the_total_it_is_contained_in_and_not_with_another_of_its_license(
    relay: Relay, desk: Desk, database_urls: DatabaseUrls
) -> None:
    issued = await desk.a_license(await desk.a_user())
    of_it = {"id": issued.license.id, "user": issued.license.user_id}
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " VALUES (:id, 'databases', :user, 3, 1), (:id, 'domains', :user, 1, 1)",
        **of_it,
    )
    await relay.catch_up()
    await change(
        database_urls,
        "INSERT INTO hold_settlements (license_id, resource, reservation_id)"
        " VALUES (:id, 'databases', 'one'), (:id, 'domains', 'another')",
        id=issued.license.id,
    )
    await change(database_urls, "UPDATE license_usage SET used = 4 WHERE resource = 'databases'")
    await relay.catch_up()
    (left,) = await rows(database_urls, "SELECT * FROM hold_settlements")
    assert left["resource"] == "domains"
    await change(database_urls, "UPDATE license_usage SET used = 2 WHERE resource = 'domains'")
    await relay.catch_up()
    assert await rows(database_urls, "SELECT * FROM hold_settlements") == []


async def test_as_of_waits_for_what_another_relay_has_claimed(
    relay: Relay, database: Database, desk: Desk, hot_store: HotStore
) -> None:
    began = unix_time()
    await desk.a_license(await desk.a_user())
    async with database.as_system() as tx:
        assert len(await outbox.take_projection(tx.session, 10)) == 1
        claimed = unix_time()
        await relay.catch_up()
        synced = await hot_store.synced_through()
        assert synced is not None
        assert began - 0.001 <= synced <= claimed
    before = unix_time()
    await relay.catch_up()
    synced = await hot_store.synced_through()
    assert synced is not None
    assert before - 0.001 <= synced <= unix_time()


async def test_as_of_goes_on_while_something_is_always_left(
    relay: Relay, database: Database, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    """It is when the oldest change that is left began: whatever was committed before stands in Redis."""
    issued = await desk.a_license(await desk.a_user())
    await relay.catch_up()
    told = []
    for _ in range(3):
        await touch(database_urls, issued)
        async with database.as_system() as tx:
            (left,) = await outbox.take_projection(tx.session, 10)
            await relay.catch_up()
            told.append(await hot_store.synced_through() or 0.0)
        assert told[-1] == pytest.approx(left.created_at.timestamp(), abs=0.001)
        await relay.catch_up()
    assert None not in told
    assert told == sorted(filter(None, told))


async def test_as_of_is_not_told_while_the_hot_store_is_incomplete(
    database: Database, writer: Writer, hot_store: HotStore
) -> None:
    await Relay(database, writer, utc_now, complete=lambda: False).catch_up()
    assert await hot_store.synced_through() is None


async def test_missing_functions_are_brought_back(relay: Relay, desk: Desk, hot_store: HotStore, redis: Redis) -> None:
    issued = await desk.a_license(await desk.a_user())
    await hot_store.forget_functions()
    await relay.catch_up()
    assert await hot_store.has_version(issued, 1)


async def test_redis_goes_away_and_comes_back_empty(
    database: Database, desk: Desk, database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    issued = await desk.a_license(await desk.a_user())
    async with Redis.from_url(server.url) as redis:
        store = HotStore(redis)
        relay = Relay(database, Writer(HotStoreClient(redis)), utc_now, complete=lambda: True)
        with running(server, tmp_path / "log"):
            async with kept_running(relay):
                await eventually(lambda: store.has_version(issued, 1))
                await eventually(lambda: nothing_waits(database_urls))
        await touch(database_urls, issued)
        with pytest.raises(RedisAway):
            await relay.catch_up()
        assert await waiting(database_urls) == 1  # the claim went back with its transaction
        async with kept_running(relay):
            with running(server, tmp_path / "log"):
                await eventually(lambda: store.has_version(issued, 2))


async def test_connections_to_postgres_break(
    relay: Relay, desk: Desk, hot_store: HotStore, database_urls: DatabaseUrls, postgres: Postgres
) -> None:
    issued = await desk.a_license(await desk.a_user())
    listeners = (
        "SELECT pid FROM pg_stat_activity"
        " WHERE application_name = 'nextpanel-workers-listen' AND datname = current_database()"
    )
    async with kept_running(relay, database_urls):
        await eventually(lambda: hot_store.has_version(issued, 1))
        before = await eventually(lambda: rows(database_urls, listeners))
        postgres.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'np_worker'",
            urlsplit(database_urls.owner).path[1:],
        )

        async def listens_again() -> bool:
            now = await rows(database_urls, listeners)
            return bool(now) and now != before

        await eventually(listens_again)
        await touch(database_urls, issued)
        await eventually(lambda: hot_store.has_version(issued, 2))
