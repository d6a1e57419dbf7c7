"""Dispatch: a job is performed until it is done or dead, one attempt at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from billing_api.gateways.http_client import PartnerRefused, Retryable
from core.clock import utc_now
from core.ids import new_id
from core.jobs import AlignAccount, DeliverMail, Job
from db.models.messaging import OutboxRow
from db.unit_of_work import Database, SystemTransaction
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls
from tests.workers.world import eventually
from workers.jobs.dispatch import Dispatcher, Work

CLAIM_SECONDS = 15


async def enqueued(database: Database, *jobs: Job) -> list[int]:
    """The jobs' outbox ids; the outbox holds nothing else."""
    async with database.as_system() as tx:
        await tx.enqueue(*jobs)
    async with database.as_system() as tx:
        return list(await tx.session.scalars(select(OutboxRow.id).order_by(OutboxRow.id)))


async def the_row(urls: DatabaseUrls, outbox_id: int) -> dict[str, Any]:
    return (await rows(urls, "SELECT * FROM outbox WHERE id = :id", id=outbox_id))[0]


async def make_due(urls: DatabaseUrls) -> None:
    """Lets the time pass that a claim or a pause lasts."""
    await change(urls, "UPDATE outbox SET due_at = now() WHERE done_at IS NULL AND dead_at IS NULL")


def mail_work(perform: Callable[[DeliverMail], Awaitable[None]], **more: Any) -> Work[DeliverMail]:
    return Work(DeliverMail, perform, **({"claim_seconds": CLAIM_SECONDS} | more))


async def test_a_job_is_claimed_performed_and_done(database: Database, database_urls: DatabaseUrls) -> None:
    performed: list[UUID] = []
    seen: list[dict[str, Any]] = []

    async def perform(job: DeliverMail) -> None:
        performed.append(job.mail_id)
        seen.append(await the_row(database_urls, outbox_id))

    mail_id = new_id()
    [outbox_id] = await enqueued(database, DeliverMail(mail_id))
    dispatcher = Dispatcher(database, [mail_work(perform)])
    await dispatcher.perform(outbox_id)
    assert performed == [mail_id]
    assert seen[0]["attempts"] == 1
    assert CLAIM_SECONDS - 5 < (seen[0]["due_at"] - utc_now()).total_seconds() <= CLAIM_SECONDS
    assert (await the_row(database_urls, outbox_id))["done_at"] is not None
    await dispatcher.perform(outbox_id)  # a doubled hint
    assert performed == [mail_id]


async def test_two_workers_perform_a_job_one_at_a_time(database: Database) -> None:
    running = performed = 0

    async def perform(_job: DeliverMail) -> None:
        nonlocal running, performed
        running += 1
        assert running == 1
        await asyncio.sleep(0.05)
        running -= 1
        performed += 1

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    workers = [Dispatcher(database, [mail_work(perform)]) for _ in range(2)]
    await asyncio.gather(*(worker.perform(outbox_id) for worker in workers * 3))
    assert performed == 1


async def test_a_failure_is_tried_again_later(database: Database, database_urls: DatabaseUrls) -> None:
    attempts = 0

    async def perform(_job: DeliverMail) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Retryable("the relay is out for lunch", retry_after=40 if attempts == 2 else None)

    outcomes: list[tuple[str, str]] = []
    dispatcher = Dispatcher(
        database, [mail_work(perform)], performed=lambda kind, outcome: outcomes.append((kind, outcome))
    )
    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    await dispatcher.perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert row["last_error"] == "the relay is out for lunch"
    assert 0 < (row["due_at"] - utc_now()).total_seconds() <= 1
    await make_due(database_urls)
    await dispatcher.perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert 35 < (row["due_at"] - utc_now()).total_seconds() <= 40  # as the partner asked
    await make_due(database_urls)
    await dispatcher.perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert (row["attempts"], row["last_error"], row["dead_at"]) == (3, None, None)
    assert row["done_at"] is not None
    assert outcomes == [("deliver_mail", "retry"), ("deliver_mail", "retry"), ("deliver_mail", "done")]


async def test_a_partner_may_say_what_postgres_cannot_hold(database: Database, database_urls: DatabaseUrls) -> None:
    """Else its refusal could not be written down, and it would be asked for ever."""

    async def perform(_job: DeliverMail) -> None:
        raise PartnerRefused("no \0 such \ud83d mailbox", 422)

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    await Dispatcher(database, [mail_work(perform)]).perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert (row["attempts"], row["last_error"]) == (1, r"no \0 such \ud83d mailbox")
    assert row["dead_at"] is not None


@pytest.mark.parametrize(
    ("failure", "attempts"), [(PartnerRefused("no such mailbox", 422), 1), (ValueError("ours"), 2)]
)
async def test_a_job_dies_visibly_and_lives_again(
    database: Database, database_urls: DatabaseUrls, failure: Exception, attempts: int
) -> None:
    """A refusal is final at once; anything else after the kind's last attempt."""
    works = False
    deaths: list[str] = []

    async def perform(_job: DeliverMail) -> None:
        if not works:
            raise failure

    async def on_death(_tx: SystemTransaction, _job: DeliverMail, reason: str) -> None:
        deaths.append(reason)

    dispatcher = Dispatcher(database, [mail_work(perform, attempts=2, on_death=on_death)])
    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    for _ in range(attempts):
        assert deaths == []
        await make_due(database_urls)
        await dispatcher.perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert row["dead_at"] is not None
    assert row["attempts"] == attempts
    assert str(failure) in row["last_error"]
    assert deaths == [row["last_error"]]
    await make_due(database_urls)
    await dispatcher.perform(outbox_id)
    assert (await the_row(database_urls, outbox_id))["attempts"] == attempts  # dead is dead

    works = True
    await change(database_urls, "UPDATE outbox SET dead_at = NULL, attempts = 0, due_at = now()")  # as an admin does it
    await dispatcher.perform(outbox_id)
    assert (await the_row(database_urls, outbox_id))["done_at"] is not None


@pytest.mark.parametrize("job", [{"type": "send_a_pigeon"}, {"type": "deliver_mail"}, {"kind": "none"}])
async def test_a_job_of_a_newer_release_is_left_to_it(
    database: Database, database_urls: DatabaseUrls, job: dict[str, str]
) -> None:
    async def perform(_job: DeliverMail) -> None:
        pytest.fail("it is not ours")

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    await change(database_urls, "UPDATE outbox SET job = cast(:job AS jsonb)", job=str(job).replace("'", '"'))
    await Dispatcher(database, [mail_work(perform)]).perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert (row["attempts"], row["done_at"], row["dead_at"]) == (0, None, None)
    assert "this release cannot perform" in row["last_error"]
    assert row["due_at"] > utc_now()  # out of the way of the others


async def test_a_kind_without_a_handler_is_left_alone(database: Database, database_urls: DatabaseUrls) -> None:
    [outbox_id] = await enqueued(database, AlignAccount(new_id()))
    await Dispatcher(database, []).perform(outbox_id)
    row = await the_row(database_urls, outbox_id)
    assert (row["attempts"], row["done_at"], row["dead_at"]) == (0, None, None)
    assert "align_account" in row["last_error"]


async def test_an_attempt_ends_before_its_claim(database: Database, database_urls: DatabaseUrls) -> None:
    async def perform(_job: DeliverMail) -> None:
        await asyncio.Event().wait()

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    claimed = asyncio.create_task(Dispatcher(database, [mail_work(perform, claim_seconds=0.5)]).perform(outbox_id))
    await asyncio.wait_for(claimed, 5)
    assert "longer than its claim" in (await the_row(database_urls, outbox_id))["last_error"]


async def test_an_outcome_after_another_workers_claim_counts_for_nothing(
    database: Database, database_urls: DatabaseUrls
) -> None:
    go_on = asyncio.Event()
    started = asyncio.Event()

    async def slow(_job: DeliverMail) -> None:
        started.set()
        await go_on.wait()
        raise PartnerRefused("too late to say no")

    async def quick(_job: DeliverMail) -> None:
        raise Retryable("not yet")

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    first = asyncio.create_task(Dispatcher(database, [mail_work(slow)]).perform(outbox_id))
    await started.wait()
    await make_due(database_urls)
    await Dispatcher(database, [mail_work(quick)]).perform(outbox_id)
    go_on.set()
    await first
    row = await the_row(database_urls, outbox_id)
    assert (row["attempts"], row["last_error"], row["dead_at"]) == (2, "not yet", None)


async def test_a_worker_that_stops_gives_its_claim_back(database: Database, database_urls: DatabaseUrls) -> None:
    started = asyncio.Event()

    async def perform(_job: DeliverMail) -> None:
        started.set()
        await asyncio.Event().wait()

    [outbox_id] = await enqueued(database, DeliverMail(new_id()))
    stopping = asyncio.create_task(Dispatcher(database, [mail_work(perform)]).perform(outbox_id))
    await started.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    async def due_again() -> bool:
        return bool((await the_row(database_urls, outbox_id))["due_at"] <= utc_now())

    await eventually(due_again)


async def test_no_more_jobs_at_once_than_there_is_room_for(database: Database) -> None:
    running, most = 0, 0
    two = asyncio.Barrier(2)

    async def perform(_job: DeliverMail) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await two.wait()
        running -= 1

    ids = await enqueued(database, *(DeliverMail(new_id()) for _ in range(6)))
    dispatcher = Dispatcher(database, [mail_work(perform, at_once=2)])
    await asyncio.gather(*(dispatcher.perform(outbox_id) for outbox_id in ids))
    assert most == 2


async def test_jobs_that_wait_for_one_partner_keep_no_other_kind_waiting(database: Database) -> None:
    left: list[UUID] = []

    async def hang(_job: AlignAccount) -> None:
        await asyncio.Event().wait()

    async def deliver(job: DeliverMail) -> None:
        left.append(job.mail_id)

    mail_id = new_id()
    *hanging, mail = await enqueued(database, *(AlignAccount(new_id()) for _ in range(5)), DeliverMail(mail_id))
    dispatcher = Dispatcher(
        database, [Work(AlignAccount, hang, claim_seconds=CLAIM_SECONDS, at_once=2), mail_work(deliver)]
    )
    waiting = [asyncio.create_task(dispatcher.perform(outbox_id)) for outbox_id in hanging]
    await asyncio.wait_for(dispatcher.perform(mail), 5)
    assert left == [mail_id]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
