"""The outbox as staff see it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from core.clock import utc_now
from core.jobs import DeliverMail, Provision
from db import outbox
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.people import Desk, Headers

PATH = "/api/v1/admin/jobs"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def test_waiting_done_and_dead_jobs_are_told_apart(client: Client, admin: Headers, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()), Provision(uuid4()), DeliverMail(uuid4()))
    listed = (await client.get(PATH, headers=admin)).json()
    dead, done, waiting = [item["id"] for item in listed["items"]]
    async with database.as_system() as tx:
        ended = {"dead_at": OutboxRow.created_at, "attempts": 9, "last_error": "the panel refused"}
        await tx.session.execute(update(OutboxRow).where(OutboxRow.id == dead).values(**ended))
        await tx.session.execute(update(OutboxRow).where(OutboxRow.id == done).values(done_at=OutboxRow.created_at))
    for state, job_id in (("dead", dead), ("done", done), ("waiting", waiting)):
        page = (await client.get(f"{PATH}?state={state}", headers=admin)).json()
        assert [(item["id"], item["state"]) for item in page["items"]] == [(job_id, state)]
    assert (await client.get(f"{PATH}?state=gone", headers=admin)).status_code == 400


async def test_a_dead_job_gets_another_life(client: Client, admin: Headers, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()))
    job_id = (await client.get(PATH, headers=admin)).json()["items"][0]["id"]
    async with database.as_system() as tx:
        ended = {"dead_at": OutboxRow.created_at, "attempts": 9, "due_at": utc_now() + timedelta(days=1)}
        await tx.session.execute(update(OutboxRow).values(**ended))
    revived = (await client.post(f"{PATH}/{job_id}/retry", headers=admin)).json()
    assert (revived["state"], revived["attempts"], revived["dead_at"]) == ("waiting", 9, None)
    async with database.as_system() as tx:
        assert [job.id for job in await outbox.due_partner_jobs(tx.session, 10)] == [job_id]


async def test_a_job_that_pauses_after_a_failure_need_not_wait(
    client: Client, admin: Headers, database: Database
) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()))
    job_id = await claimed(database)
    async with database.as_system() as tx:
        claim = outbox.Claim(job_id, {}, 1, utc_now())
        assert await outbox.retry(tx.session, claim, "not yet", 3600)
    hastened = (await client.post(f"{PATH}/{job_id}/retry", headers=admin)).json()
    assert (hastened["state"], hastened["attempts"], hastened["last_error"]) == ("waiting", 1, "not yet")
    assert await claimed(database) == job_id


async def test_a_job_that_is_being_performed_is_left_alone(client: Client, admin: Headers, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()))
    job_id = await claimed(database)
    async with database.as_system() as tx:
        await outbox.retry(tx.session, outbox.Claim(job_id, {}, 1, utc_now()), "not yet", 0)
    await claimed(database)  # leased again, after a failure
    assert (await client.post(f"{PATH}/{job_id}/retry", headers=admin)).status_code == 409
    async with database.as_system() as tx:
        assert await outbox.due_partner_jobs(tx.session, 10) == []
        row = (await tx.session.execute(select(OutboxRow))).scalar_one()
    assert row.attempts == 2


async def claimed(database: Database) -> int:
    """The id of the one job that is due, leased for a minute."""
    async with database.as_system() as tx:
        [due] = await outbox.due_partner_jobs(tx.session, 10)
        claim = await outbox.lock_partner_job(tx.session, due.id)
        assert claim is not None
        await outbox.claim_job(tx.session, claim, 60)
    return due.id


async def test_an_id_beyond_all_numbers_is_refused(client: Client, admin: Headers) -> None:
    answer = await client.post(f"{PATH}/99999999999999999999999/retry", headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def test_a_done_job_is_not_done_again(client: Client, admin: Headers, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()))
        await tx.session.execute(update(OutboxRow).values(done_at=OutboxRow.created_at))
    job_id = (await client.get(PATH, headers=admin)).json()["items"][0]["id"]
    assert (await client.post(f"{PATH}/{job_id}/retry", headers=admin)).status_code == 409
    assert (await client.post(f"{PATH}/{job_id + 1}/retry", headers=admin)).status_code == 404
