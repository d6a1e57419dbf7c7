"""Pinned holds: a hold ends together with its report's new total, or is given back where the report never comes."""

import asyncio

import pytest
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.hotstore.writer import Hold, Writer
from core.licensing.record import Usage
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from workers.projection.pin_sweeper import PinSweeper
from workers.projection.relay import Relay

HOUR_MS = 3_600_000


@pytest.fixture
def relay(database: Database, writer: Writer) -> Relay:
    return Relay(database, writer, utc_now, complete=lambda: False)


@pytest.fixture
async def issued(desk: Desk) -> Issued:
    return await desk.a_license(await desk.a_user())


async def a_hold(redis: Redis, writer: Writer, issued: Issued, name: str) -> None:
    """One database, held and pinned. Put there by hand: reserve wants a store that is loaded."""
    h = keys.short_hash(issued.license.license_key_hash)
    async with redis.pipeline() as pipe:
        pipe.hset(keys.holds(h), name, "1:databases")
        pipe.hincrby(keys.holds(h), "=databases", 1)
        await pipe.execute()
    await redis.zadd(keys.hold_ends(h), {name: float((await redis.time())[0] * 1000 + HOUR_MS)})
    assert await writer.pin([Hold(issued.license.license_key_hash, name, "databases")]) == ["pinned"]


async def age_pins(redis: Redis, issued: Issued, *names: str) -> None:
    h = keys.short_hash(issued.license.license_key_hash)
    for name in names:
        await redis.zincrby(keys.pins_of(h), -HOUR_MS, f"{h}:{name}")


async def usage(redis: Redis, issued: Issued) -> Usage:
    return (await Reader(HotStoreClient(redis)).read(issued.license.license_key_hash)).usage


async def record(urls: DatabaseUrls, issued: Issued, reservation: str) -> None:
    """What a report of this reservation leaves in PostgreSQL, as far as workers see it."""
    await change(
        urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " VALUES (:id, 'databases', :user, 1, 1)"
        " ON CONFLICT (license_id, resource) DO UPDATE SET used = license_usage.used + 1",
        id=issued.license.id,
        user=issued.license.user_id,
    )
    await change(
        urls,
        "INSERT INTO hold_settlements (license_id, resource, reservation_id) VALUES (:id, 'databases', :reservation)",
        id=issued.license.id,
        reservation=reservation,
    )


async def test_a_hold_ends_in_the_step_that_brings_its_total(
    relay: Relay, redis: Redis, writer: Writer, issued: Issued, database_urls: DatabaseUrls
) -> None:
    await relay.catch_up()
    for name in ("a", "b"):
        await a_hold(redis, writer, issued, name)
    await record(database_urls, issued, "a")
    assert (await usage(redis, issued)).held == {"databases": 2}
    await relay.catch_up()
    seen = await usage(redis, issued)
    assert (seen.used, seen.held) == ({"databases": 1}, {"databases": 1})
    assert await rows(database_urls, "SELECT * FROM hold_settlements") == []


async def test_a_settlement_survives_a_round_that_fails(
    relay: Relay, redis: Redis, writer: Writer, issued: Issued, database_urls: DatabaseUrls
) -> None:
    await relay.catch_up()
    await a_hold(redis, writer, issued, "a")
    await record(database_urls, issued, "a")
    h = keys.short_hash(issued.license.license_key_hash)
    await redis.rename(keys.pins_of(h), "elsewhere")
    await redis.set(keys.pins_of(h), "of the wrong type")
    await relay.catch_up()  # sets the row aside
    assert len(await rows(database_urls, "SELECT * FROM hold_settlements")) == 1
    await redis.rename("elsewhere", keys.pins_of(h))
    await change(database_urls, "UPDATE outbox SET due_at = now()")
    await relay.catch_up()
    seen = await usage(redis, issued)
    assert (seen.used, seen.held.get("databases", 0)) == ({"databases": 1}, 0)


async def test_a_pin_of_which_nothing_came_is_given_back(
    relay: Relay, redis: Redis, writer: Writer, issued: Issued, database: Database
) -> None:
    await relay.catch_up()
    sweepers = [PinSweeper(database, writer) for _ in range(2)]
    for name in ("old", "young"):
        await a_hold(redis, writer, issued, name)
    assert await sweepers[0].look() == 0
    await age_pins(redis, issued, "old")
    await asyncio.gather(*(sweeper.look() for sweeper in sweepers))
    assert (await usage(redis, issued)).held == {"databases": 1}
    assert await sweepers[0].look() == 0


async def test_a_pin_whose_report_is_recorded_waits_for_its_total(
    relay: Relay,
    redis: Redis,
    writer: Writer,
    issued: Issued,
    database: Database,
    database_urls: DatabaseUrls,
) -> None:
    """However long no relay runs: given back before the total has come, it would be granted twice."""
    await relay.catch_up()
    await a_hold(redis, writer, issued, "a")
    await record(database_urls, issued, "a")
    await age_pins(redis, issued, "a")
    assert await PinSweeper(database, writer).look() == 0
    assert (await usage(redis, issued)).held == {"databases": 1}
    await relay.catch_up()
    seen = await usage(redis, issued)
    assert (seen.used, seen.held.get("databases", 0)) == ({"databases": 1}, 0)
