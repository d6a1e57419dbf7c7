"""A batch by itself: nothing is looked up until a report turns out to have come before."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from billing_api.licenses.issuing import Issued
from billing_api.usage import repository
from billing_api.usage.holds import Holds
from billing_api.usage.recording import Counted, Recording, Report
from core.clock import utc_now
from core.errors import InvalidInput
from core.hotstore import keys
from core.hotstore.writer import HotStoreWriter
from core.ids import new_id
from core.licensing.counting import UsageAction
from db.unit_of_work import Database
from tests.support.people import Desk

_HOUR_MS = 3_600_000


class Desktop:
    """Records reports about one licence, at an hour that the test sets."""

    def __init__(self, database: Database, redis: Redis, issued: Issued) -> None:
        self.redis = redis
        self.license_hash = issued.license.license_key_hash
        self.now = 1000.0
        holds = Holds(HotStoreWriter(redis))
        self.recording = Recording(database, holds, utc_now, monotonic=lambda: self.now)

    def report(self, key: str, *, number: int = 1, reservation_id: str | None = None) -> Report:
        body_hash = bytes([number]) * 32
        return Report(
            self.license_hash, None, "databases", UsageAction.CREATED, number, key, body_hash, reservation_id, None
        )

    async def hold(self, resource: str) -> str:
        """A reservation of one. Put there by hand: reserve wants a store that is loaded."""
        h = keys.short_hash(self.license_hash)
        name = h[:8] + new_id().hex[:24]
        await self.redis.hset(keys.holds(h), mapping={name: f"1:{resource}", f"={resource}": 1})  # type: ignore[misc]  # redis-py types one method for both of its clients
        ends = float((await self.redis.time())[0] * 1000 + _HOUR_MS)
        await self.redis.zadd(keys.hold_ends(h), {name: ends})
        return name


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey) as redis:
        await HotStoreWriter(redis).load_functions()
        yield redis


@pytest.fixture
async def desktop(database: Database, redis: Redis, desk: Desk) -> Desktop:
    return Desktop(database, redis, await desk.a_license(await desk.a_user()))


async def test_who_comes_again_is_answered_as_before_whoever_comes_with_him(desktop: Desktop) -> None:
    record = desktop.recording.record
    (first,) = await record([desktop.report("a")])
    assert isinstance(first, Counted)
    again, new, other = await record([desktop.report("a"), desktop.report("b"), desktop.report("a", number=2)])
    assert again == first._replace(replayed=True)
    assert isinstance(new, Counted)
    assert not new.replayed
    assert "another report" in str(other)
    desktop.now += 3600  # nobody looks first any more
    (later,) = await record([desktop.report("b")])
    assert later == new._replace(replayed=True)


async def test_six_who_record_the_same_at_once_record_it_once(desktop: Desktop) -> None:
    outcomes = await asyncio.gather(*(desktop.recording.record([desktop.report("a")]) for _ in range(6)))
    counted = [outcome for (outcome,) in outcomes if isinstance(outcome, Counted)]
    assert sorted(outcome.replayed for outcome in counted) == [False, True, True, True, True, True]


async def test_a_report_recorded_while_redis_was_silent_is_answered_as_before(desktop: Desktop) -> None:
    """Its reservation is for something else: told when it came first, it would have been refused."""
    name = await desktop.hold("domains")
    desktop.recording._holds._silent_until = float("inf")
    (first,) = await desktop.recording.record([desktop.report("a", reservation_id=name)])
    assert isinstance(first, Counted)
    desktop.recording._holds._silent_until = 0.0
    (again,) = await desktop.recording.record([desktop.report("a", reservation_id=name)])
    assert again == first._replace(replayed=True)
    (refused,) = await desktop.recording.record([desktop.report("b", reservation_id=name)])
    assert isinstance(refused, InvalidInput)


async def test_looking_is_left_out_while_nobody_comes_again(desktop: Desktop) -> None:
    looked: list[bool] = []
    original = desktop.recording._record

    async def watched(driver: object, reports: object, *, look_first: bool) -> object:
        looked.append(look_first)
        return await original(driver, reports, look_first=look_first)  # type: ignore[arg-type]  # passed on as they came

    desktop.recording._record = watched  # type: ignore[method-assign, assignment]
    await desktop.recording.record([desktop.report("a")])
    await desktop.recording.record([desktop.report("b")])
    assert looked == [False, False]
    await desktop.recording.record([desktop.report("b")])
    await desktop.recording.record([desktop.report("c")])
    assert looked[2:] == [False, True, True]
    desktop.now += 2
    await desktop.recording.record([desktop.report("d")])
    assert looked[5:] == [False]


@pytest.mark.parametrize("statement", ["_LICENSES", "_RECORDED", "_LOCK_TOTALS", "_WRITE"])
async def test_no_table_is_read_whole_though_the_planner_believes_it_small(database: Database, statement: str) -> None:
    """A plan is made once for a connection; tables that nobody has analysed yet count as empty then."""
    query: str = getattr(repository, statement)
    number = max(int(place) for place in re.findall(r"\$(\d+)", query))
    async with database.driver_as_system() as driver:
        await driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await driver.execute(f"PREPARE planned AS {query}")
        plan = await driver.fetch(f"EXPLAIN EXECUTE planned ({', '.join(['NULL'] * number)})")
        await driver.execute("DEALLOCATE planned")
    text = "\n".join(row[0] for row in plan)
    assert "Index" in text
    assert "Seq Scan" not in text, text
