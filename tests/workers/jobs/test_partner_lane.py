"""The partner lane: due jobs are announced to the queue, and performed also where the hint is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from arq.connections import RedisSettings, create_pool
from redis.asyncio import Redis

from core.ids import new_id
from core.jobs import DeliverMail, ProcessWebhook
from db.unit_of_work import Database
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls, running
from tests.workers.world import eventually
from workers.jobs import partner_lane
from workers.jobs.arq_queue import NAME, ArqQueue
from workers.jobs.dispatch import Dispatcher, Work
from workers.jobs.partner_lane import PartnerLane
from workers.process.supervision import keep_running


class Performed:
    """What a handler was asked to do."""

    def __init__(self) -> None:
        self.mails: list[UUID] = []

    async def deliver(self, job: DeliverMail) -> None:
        self.mails.append(job.mail_id)


class NoQueue:
    """A queue whose hints come to nothing."""

    def __init__(self) -> None:
        self.announced: list[int] = []

    async def announce(self, outbox_ids: Sequence[int]) -> None:
        self.announced += outbox_ids


class Lane:
    """A partner lane with one kind of job, its queue and what came of it."""

    def __init__(self, database: Database, queue_url: str) -> None:
        self.performed = Performed()
        self.database = database
        self.dispatcher = Dispatcher(database, [Work(DeliverMail, self.performed.deliver, claim_seconds=15)])
        self.queue = ArqQueue(queue_url, self.dispatcher.perform, ())
        self.lane = PartnerLane(database, self.dispatcher, self.queue)

    async def enqueue(self, number: int = 1) -> list[UUID]:
        mails = [new_id() for _ in range(number)]
        async with self.database.as_system() as tx:
            await tx.enqueue(*(DeliverMail(mail_id) for mail_id in mails))
        return mails

    async def until_performed(self, *mails: UUID, within: float = 10) -> None:
        async def done() -> bool:
            return set(mails) <= set(self.performed.mails)

        await eventually(done, within=within)


@asynccontextmanager
async def kept_running(*parts: tuple[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(keep_running(name, run)) for name, run in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def lane(database: Database, valkey: str) -> AsyncIterator[Lane]:
    lane = Lane(database, valkey)
    yield lane
    await lane.queue.close()


async def test_a_hint_brings_a_job_to_a_worker_with_room(lane: Lane, database: Database, valkey: str) -> None:
    """The worker that saw the job only announces it; another one performs it."""
    other = Lane(database, valkey)
    [mail_id] = await lane.enqueue()
    await lane.lane.look()
    async with kept_running(("arq", other.queue.run)):
        await other.until_performed(mail_id)
    await other.queue.close()
    assert lane.performed.mails == []


async def test_a_lost_hint_costs_a_second(lane: Lane, redis: Redis) -> None:
    [mail_id] = await lane.enqueue()
    await lane.lane.look()
    assert await lane.queue.depth() == 1
    await redis.flushall()
    async with kept_running(("lane", lane.lane.run)):  # arq does not run at all
        await lane.until_performed(mail_id, within=3)


async def test_without_redis_jobs_are_performed_all_the_same(database: Database) -> None:
    lane = Lane(database, "redis://127.0.0.1:1")
    mails = await lane.enqueue(5)
    async with kept_running(("lane", lane.lane.run), ("arq", lane.queue.run)):
        await lane.until_performed(*mails)
    await lane.queue.close()
    assert sorted(lane.performed.mails) == sorted(mails)


async def test_the_queue_is_restarted_when_redis_comes_back(database: Database, tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    lane = Lane(database, server.url)
    async with kept_running(("arq", lane.queue.run)):
        with running(server, tmp_path / "log"):
            [first] = await lane.enqueue()
            await lane.lane.look()
            await lane.until_performed(first)
        with running(server, tmp_path / "log"):
            [second] = await lane.enqueue()
            await lane.lane.look()
            await lane.until_performed(second)
    await lane.queue.close()


async def test_a_mark_that_a_dead_worker_left_in_the_queue_holds_nothing_up(
    lane: Lane, redis: Redis, database_urls: DatabaseUrls
) -> None:
    """By itself arq would not touch the job again before its time-out, minutes later."""
    [mail_id] = await lane.enqueue()
    [row] = await rows(database_urls, "SELECT id FROM outbox")
    await redis.set(f"arq:in-progress:{row['id']}", b"1")
    async with kept_running(("lane", lane.lane.run), ("arq", lane.queue.run)):
        await lane.until_performed(mail_id, within=3)


async def test_a_job_whose_retry_falls_due_is_found(lane: Lane, database_urls: DatabaseUrls) -> None:
    """No notification comes for a row that was put off, or that an admin revived."""
    [mail_id] = await lane.enqueue()
    await change(database_urls, "UPDATE outbox SET due_at = now() + interval '0.3 seconds', attempts = 4")
    async with kept_running(("lane", lane.lane.run)):
        await lane.until_performed(mail_id)
    [row] = await rows(database_urls, "SELECT * FROM outbox")
    assert row["attempts"] == 5


async def test_jobs_that_are_being_performed_end_before_the_lane_stops(database: Database) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def slow(_job: DeliverMail) -> None:
        started.set()
        await asyncio.sleep(0.1)
        ended.set()

    dispatcher = Dispatcher(database, [Work(DeliverMail, slow, claim_seconds=15)])
    lane = PartnerLane(database, dispatcher, NoQueue())
    async with database.as_system() as tx:
        await tx.enqueue(DeliverMail(new_id()))
    async with kept_running(("lane", lane.run)):
        await started.wait()
    assert ended.is_set()


async def test_fresh_jobs_are_left_to_the_queue(database: Database) -> None:
    performed, queue = Performed(), NoQueue()
    dispatcher = Dispatcher(database, [Work(DeliverMail, performed.deliver, claim_seconds=15)])
    async with database.as_system() as tx:
        await tx.enqueue(DeliverMail(new_id()), DeliverMail(new_id()))
    await PartnerLane(database, dispatcher, queue).look()
    assert len(queue.announced) == 2
    assert performed.mails == []


async def test_more_webhooks_on_a_silent_stripe_than_there_is_room_for_hold_no_mail_up(
    database: Database, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the dispatcher, nor in the queue's places, nor in what the lane sees at one look."""
    monkeypatch.setattr(partner_lane, "_MOST_AT_A_LOOK", 20)
    performed, hanging = Performed(), 0

    async def hang(_job: ProcessWebhook) -> None:
        nonlocal hanging
        hanging += 1
        await asyncio.Event().wait()

    async def take(outbox_id: int) -> None:
        await partners.take(outbox_id)

    webhooks, mails = (
        Work(ProcessWebhook, hang, claim_seconds=30, at_once=3),
        Work(DeliverMail, performed.deliver, claim_seconds=15),
    )
    queue = ArqQueue(valkey, take, (), at_once=4)
    partners = PartnerLane(database, Dispatcher(database, (webhooks, mails)), queue)

    async def full() -> bool:
        return hanging == 3

    async def mailed() -> bool:
        return len(performed.mails) == 1

    async with database.as_system() as tx:
        await tx.enqueue(*(ProcessWebhook(new_id()) for _ in range(60)))
    async with kept_running(("lane", partners.run), ("arq", queue.run)):
        await eventually(full)
        async with database.as_system() as tx:
            await tx.enqueue(DeliverMail(new_id()))
        partners.wakeup.wake()
        await eventually(mailed, within=3)
    await queue.close()
    assert hanging == 3


async def test_an_announcement_that_is_cancelled_twice_keeps_no_connection(lane: Lane) -> None:
    """As by its own time limit, and by a process that stops meanwhile."""
    for _ in range(300):
        announcing = asyncio.create_task(lane.queue.announce([1, 2, 3]))
        await asyncio.sleep(random.uniform(0, 0.002))
        for _ in range(3):
            announcing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({announcing})
    assert not lane.queue._pool._in_use_connections


async def test_messages_are_msgpack(lane: Lane, redis: Redis) -> None:
    await lane.queue.announce([7, 7])
    assert await redis.zcard(NAME) == 1
    packed = await redis.get("arq:job:7")
    assert packed is not None
    message = msgspec.msgpack.decode(packed)
    assert (message["f"], message["a"]) == ("perform", [7])


async def test_a_foreign_message_does_not_stop_the_queue(lane: Lane, valkey: str) -> None:
    async with await create_pool(RedisSettings.from_dsn(valkey)) as stranger:  # with arq's own serializer, pickle
        await stranger.enqueue_job("perform", 1, _job_id="pickled", _queue_name=NAME)
    [mail_id] = await lane.enqueue()
    await lane.lane.look()
    async with kept_running(("arq", lane.queue.run)):
        await lane.until_performed(mail_id)
