"""Optimistic recording of a batch: reports are looked up only after one turned out to be recorded before."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from billing_api.licensing.usage import repository
from billing_api.licensing.usage.batch_counting import CheckedReport, Counted
from billing_api.licensing.usage.batch_recording import Recording
from billing_api.licensing.usage.holds import Holds
from core.clock import utc_now
from core.errors import InvalidInput
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Hold, Pinned, Writer
from core.ids import new_id
from core.licensing.counting import UsageAction
from core.licensing.plan import Resource
from db.driver import SystemSessions
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

_HOUR_MS = 3_600_000


class Desktop:
    """Records reports about one license, at a time that the test sets."""

    def __init__(self, sessions: SystemSessions, redis: Redis, issued: Issued) -> None:
        self.redis = redis
        self.license_hash = issued.license.license_key_hash
        self.now = 1000.0
        holds = Holds(Writer(HotStoreClient(redis)))
        self.recording = Recording(sessions, holds, utc_now, monotonic=lambda: self.now)

    def report(
        self, key: str, *, number: int = 1, reservation_id: str | None = None, resource: Resource = "databases"
    ) -> CheckedReport:
        body_hash = bytes([number]) * 32
        return CheckedReport(
            self.license_hash, None, resource, UsageAction.CREATED, number, key, body_hash, reservation_id, None
        )

    async def hold(self, resource: str) -> str:
        """A reservation of one. Written directly, because `reserve` needs a loaded store."""
        h = keys.short_hash(self.license_hash)
        name = h[:8] + new_id().hex[:24]
        await self.redis.hset(keys.holds(h), mapping={name: f"1:{resource}", f"={resource}": 1})  # type: ignore[misc]  # redis-py types one method for both of its clients
        ends = float((await self.redis.time())[0] * 1000 + _HOUR_MS)
        await self.redis.zadd(keys.hold_ends(h), {name: ends})
        return name


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey) as redis:
        await Writer(HotStoreClient(redis)).load_functions()
        yield redis


@pytest.fixture
async def sessions(database_urls: DatabaseUrls) -> AsyncIterator[SystemSessions]:
    sessions = SystemSessions(database_urls.api, name="test")
    yield sessions
    await sessions.close()


@pytest.fixture
async def desktop(sessions: SystemSessions, redis: Redis, desk: Desk) -> Desktop:
    return Desktop(sessions, redis, await desk.a_license(await desk.a_user()))


async def test_a_repeated_report_gets_its_first_answer_in_any_batch(desktop: Desktop) -> None:
    record = desktop.recording.record
    (first,) = await record([desktop.report("a")])
    assert isinstance(first, Counted)
    again, new, other = await record([desktop.report("a"), desktop.report("b"), desktop.report("a", number=2)])
    assert again == replace(first, replayed=True)
    assert isinstance(new, Counted)
    assert not new.replayed
    assert "another report" in str(other)
    desktop.now += 3600  # every batch is optimistic again
    (later,) = await record([desktop.report("b")])
    assert later == replace(new, replayed=True)


async def test_six_who_record_the_same_at_once_record_it_once(desktop: Desktop) -> None:
    outcomes = await asyncio.gather(*(desktop.recording.record([desktop.report("a")]) for _ in range(6)))
    counted = [outcome for (outcome,) in outcomes if isinstance(outcome, Counted)]
    assert sorted(outcome.replayed for outcome in counted) == [False, True, True, True, True, True]


async def test_a_total_that_somebody_changed_between_reading_and_writing_is_read_again(
    desktop: Desktop, database_urls: DatabaseUrls
) -> None:
    other = SystemSessions(database_urls.api, name="other")
    hold = desktop.recording._holds.pin

    async def overtaken(holds: Sequence[Hold]) -> Sequence[Pinned]:
        """Another process is faster, once: it writes between this one's read and write."""
        desktop.recording._holds.pin = hold  # type: ignore[method-assign]
        await Recording(other, desktop.recording._holds, utc_now).record([desktop.report("b", number=5)])
        return await hold(holds)

    await desktop.recording.record([desktop.report("a")])
    desktop.recording._holds.pin = overtaken  # type: ignore[method-assign]
    name = await desktop.hold("databases")
    (outcome,) = await desktop.recording.record([desktop.report("c", number=2, reservation_id=name)])
    await other.close()
    chain = await rows(database_urls, "SELECT idempotency_key, used_after, seq FROM usage_events ORDER BY seq")
    assert [tuple(event.values()) for event in chain] == [("a", 1, 1), ("b", 6, 2), ("c", 8, 3)]
    assert await rows(database_urls, "SELECT used, events FROM license_usage") == [{"used": 8, "events": 3}]
    assert isinstance(outcome, Counted)


async def test_a_process_that_died_after_it_began_a_total_leaves_nothing_to_count(
    desktop: Desktop, sessions: SystemSessions, database_urls: DatabaseUrls
) -> None:
    """The total at 0 was committed, and the events were not."""
    async with sessions.session() as driver:
        known, totals = await repository.read(driver, [(desktop.license_hash, "databases")])
        of = known[desktop.license_hash]
        assert totals == {}
        await repository.begin_totals(driver, {(of.id, "databases"): of.user_id})
    (outcome,) = await desktop.recording.record([desktop.report("a", number=2)])
    assert isinstance(outcome, Counted)
    chain = await rows(database_urls, "SELECT used_after, seq FROM usage_events")
    assert chain == [{"used_after": 2, "seq": 1}]
    assert await rows(database_urls, "SELECT used, events FROM license_usage") == [{"used": 2, "events": 1}]


async def test_processes_that_write_the_same_totals_at_once_lose_nothing_and_never_block_each_other(
    desktop: Desktop, database_urls: DatabaseUrls
) -> None:
    processes, batches = 4, 25
    everybody = [SystemSessions(database_urls.api, name=f"process {number}") for number in range(processes)]

    async def reporting(number: int, sessions: SystemSessions) -> None:
        recording = Recording(sessions, desktop.recording._holds, utc_now, monotonic=lambda: desktop.now)
        for batch in range(batches):
            kinds: Sequence[Resource] = ("emails", "databases") if number % 2 else ("databases", "emails")
            reports = [desktop.report(f"{number}-{batch}-{resource}", resource=resource) for resource in kinds]
            outcomes = await recording.record(reports)
            assert [type(outcome) for outcome in outcomes] == [Counted, Counted]
            desktop.now += 1  # optimistic again, at times

    await asyncio.gather(*(reporting(number, sessions) for number, sessions in enumerate(everybody)))
    for sessions in everybody:
        await sessions.close()
    total = processes * batches
    found = await rows(database_urls, "SELECT resource, used, events FROM license_usage ORDER BY resource")
    assert [tuple(row.values()) for row in found] == [("databases", total, total), ("emails", total, total)]
    chain = await rows(database_urls, "SELECT used_after, seq FROM usage_events WHERE resource = 'emails' ORDER BY seq")
    assert [tuple(event.values()) for event in chain] == [(number, number) for number in range(1, total + 1)]


async def test_a_report_recorded_while_redis_was_silent_is_answered_as_before(desktop: Desktop) -> None:
    """Its reservation is for another resource. The first time that would have been refused."""
    name = await desktop.hold("domains")
    desktop.recording._holds._silent_until = float("inf")
    (first,) = await desktop.recording.record([desktop.report("a", reservation_id=name)])
    assert isinstance(first, Counted)
    desktop.recording._holds._silent_until = 0.0
    (again,) = await desktop.recording.record([desktop.report("a", reservation_id=name)])
    assert again == replace(first, replayed=True)
    (refused,) = await desktop.recording.record([desktop.report("b", reservation_id=name)])
    assert isinstance(refused, InvalidInput)


async def test_looking_is_left_out_while_nobody_comes_again(desktop: Desktop) -> None:
    looked: list[bool] = []
    original = desktop.recording._record

    async def watched(driver: object, reports: object, *, look: bool, lock: bool) -> object:
        looked.append(look)
        return await original(driver, reports, look=look, lock=lock)  # type: ignore[arg-type]  # passed on as they came

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


@pytest.mark.parametrize("statement", ["_READ", "_RECORDED", "_LOCK_TOTALS", "_WRITE"])
async def test_no_table_is_read_whole_though_the_planner_believes_it_small(
    sessions: SystemSessions, statement: str
) -> None:
    """PostgreSQL plans a statement once for each connection; tables without statistics count as empty then."""
    query: str = getattr(repository, statement)
    number = max(int(place) for place in re.findall(r"\$(\d+)", query))
    async with sessions.transaction() as driver:
        await driver.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await driver.execute(f"PREPARE planned AS {query}")
        plan = await driver.fetch(f"EXPLAIN EXECUTE planned ({', '.join(['NULL'] * number)})")
        await driver.execute("DEALLOCATE planned")
    text = "\n".join(row[0] for row in plan)
    assert "Index" in text
    assert "Seq Scan" not in text, text
