"""The outbox as staff see it."""

from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest
from sqlalchemy import select, update

from billing_api.operations.jobs import repository
from core.clock import utc_now
from core.jobs import DeliverMail, Job, JobKind, Provision
from db import outbox
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.databases import change, plan_of
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

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


async def test_jobs_are_found_by_kind_and_time(client: Client, admin: Headers, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.enqueue(Provision(uuid4()), DeliverMail(uuid4()), Provision(uuid4()))
    every = (await client.get(PATH, headers=admin)).json()["items"]
    third, second, first = [item["id"] for item in every]
    days = {first: "2026-03-01", second: "2026-03-02", third: "2026-03-03"}
    async with database.as_system() as tx:
        for job_id, day in days.items():
            made = datetime.fromisoformat(f"{day}T12:00:00+00:00")
            await tx.session.execute(update(OutboxRow).where(OutboxRow.id == job_id).values(created_at=made))

    async def found(**query: str) -> list[int]:
        answer = await client.get(PATH, params=query, headers=admin)
        assert answer.status_code == 200, answer.text
        assert answer.json()["total"] == len(answer.json()["items"])
        return [item["id"] for item in answer.json()["items"]]

    assert await found(kind="provision") == [third, first]
    assert await found(kind="deliver_mail") == [second]
    assert await found(kind="project_usage") == []
    assert await found(created_after="2026-03-02T12:00:00Z") == [third, second]
    assert await found(created_before="2026-03-02T12:00:00Z") == [first]
    assert await found(created_after="2026-03-01T13:00:00+01:00", created_before="2026-03-03T00:00:00Z") == [
        second,
        first,
    ]
    assert await found(kind="provision", state="waiting", created_after="2026-03-02T00:00:00Z") == [third]


@pytest.mark.parametrize("query", ["kind=mail", "created_after=2026-03-02", "created_before=yesterday"])
async def test_filters_that_mean_nothing_are_refused(client: Client, admin: Headers, query: str) -> None:
    answer = await client.get(f"{PATH}?{query}", headers=admin)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]


def test_every_kind_of_job_can_be_named() -> None:
    tags = {member.__struct_config__.tag for member in get_args(Job) for member in (get_args(member) or (member,))}
    assert set(get_args(JobKind)) == tags


async def test_jobs_of_a_kind_are_found_by_an_index(database_urls: DatabaseUrls, database: Database) -> None:
    await change(
        database_urls,
        """INSERT INTO outbox (lane, job, created_at, done_at) SELECT 'partner', jsonb_build_object('type',
        CASE WHEN n % 100 = 0 THEN 'provision' ELSE 'deliver_mail' END),
        '2026-03-01'::timestamptz + make_interval(mins => n), now() FROM generate_series(1, 5000) AS n""",
    )
    await change(database_urls, "ANALYZE outbox")
    start = datetime.fromisoformat("2026-03-01T01:00:00+00:00")
    nothing: dict[str, Any] = dict.fromkeys(("kind", "state", "created_after", "created_before"))
    asked = {"kind": "ix_outbox_kind", "state": "ix_outbox_dead", "created_before": "ix_outbox_created_at"}
    values = {"kind": "provision", "state": "dead", "created_before": start}
    for name, index in asked.items():
        statement = repository.NEWEST_FIRST.sorted(repository.search(**nothing | {name: values[name]})).limit(20)
        async with database.as_staff(uuid4()) as tx:
            plan = await plan_of(tx.session, statement)
        assert index in plan, plan
        assert "Seq Scan" not in plan
