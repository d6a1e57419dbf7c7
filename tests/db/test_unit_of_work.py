"""Unit of work: a transaction speaks for one user from its first statement to its commit, and for nobody afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.ids import new_id
from core.jobs import DeliverMail, ProcessWebhook, ProjectLicense
from db.unit_of_work import Database, Transaction
from tests.support.databases import change, opened, rows
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with opened(database_urls) as database:
        yield database


@pytest.fixture
async def single(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """One pooled connection: each transaction gets the one that the last one used."""
    async with opened(database_urls, pool_size=1) as database:
        yield database


async def who(tx: Transaction) -> tuple[str, str | None]:
    """The role and the user that the session speaks for, as PostgreSQL sees them."""
    row = (await tx.session.execute(text("SELECT current_user, current_setting('np.user_id', true)"))).one()
    return row[0], row[1]


async def backend(tx: Transaction) -> int:
    return int(await tx.session.scalar(text("SELECT pg_backend_pid()")) or 0)


async def test_each_kind_of_transaction_is_who_it_says(database: Database) -> None:
    user_id = new_id()
    async with database.as_customer(user_id) as tx:
        assert await who(tx) == ("np_api", str(user_id))
    async with database.as_staff(user_id) as tx:
        assert await who(tx) == ("np_staff", str(user_id))
    async with database.as_system() as tx:
        assert await who(tx) == ("np_system", "")


@pytest.mark.parametrize("ends_well", [True, False])
async def test_nobodys_rights_reach_the_next_transaction_of_the_connection(single: Database, ends_well: bool) -> None:
    user_id = new_id()
    pids = set()
    for kind in (single.as_customer, single.as_staff):
        with nullcontext() if ends_well else pytest.raises(DBAPIError):
            async with kind(user_id) as tx:
                pids.add(await backend(tx))
                await tx.session.execute(text("SELECT 1" if ends_well else "SELECT 1 / 0"))
        async with single.engine.begin() as bare:
            row = (await bare.execute(text("SELECT current_user, current_setting('np.user_id', true)"))).one()
            pids.add(int(await bare.scalar(text("SELECT pg_backend_pid()")) or 0))
            # A setting that was local to an earlier transaction comes back as '', not as NULL: policies must bear it.
            assert tuple(row) in {("np_api", ""), ("np_api", None)}
            assert await bare.scalar(text("SELECT np_current_user()")) is None
            assert await bare.scalar(text("SELECT count(*) FROM users")) == 0
    assert len(pids) == 1


async def test_a_committed_local_setting_leaves_an_empty_string_behind(single: Database) -> None:
    async with single.as_customer(new_id()):
        pass
    async with single.engine.begin() as bare:
        assert await bare.scalar(text("SELECT current_setting('np.user_id', true)")) == ""


async def test_an_exception_undoes_everything(database: Database, database_urls: DatabaseUrls) -> None:
    async def work() -> None:
        async with database.as_system() as tx:
            await tx.audit("test.done", "test", "1")
            await tx.enqueue(DeliverMail(new_id()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await work()
    assert await rows(database_urls, "SELECT 1 FROM audit_log UNION ALL SELECT 1 FROM outbox") == []


async def test_a_failing_commit_is_an_error_and_leaves_nothing(database: Database, database_urls: DatabaseUrls) -> None:
    # A deferred key is checked by COMMIT itself: the block must not end as if all were well.
    await change(database_urls, "CREATE TABLE late (user_id uuid REFERENCES users DEFERRABLE INITIALLY DEFERRED)")
    await change(database_urls, "GRANT ALL ON late TO np_system")
    try:
        with pytest.raises(Exception, match="late_user_id_fkey"):
            async with database.as_system() as tx:
                await tx.session.execute(text("INSERT INTO late VALUES (:id)"), {"id": new_id()})
        assert await rows(database_urls, "SELECT * FROM late") == []
    finally:
        await change(database_urls, "DROP TABLE late")


async def test_jobs_wait_in_the_lane_that_is_theirs(database: Database, database_urls: DatabaseUrls) -> None:
    license_id, event_id = new_id(), new_id()
    async with database.as_system() as tx:
        await tx.enqueue(ProjectLicense(license_id), ProcessWebhook(event_id))
        await tx.enqueue()
    assert await rows(database_urls, "SELECT lane, job, attempts, done_at FROM outbox ORDER BY id") == [
        {
            "lane": "projection",
            "job": {"type": "project_license", "license_id": str(license_id), "retired_hash": None},
            "attempts": 0,
            "done_at": None,
        },
        {
            "lane": "partner",
            "job": {"type": "process_webhook", "webhook_event_id": str(event_id)},
            "attempts": 0,
            "done_at": None,
        },
    ]


async def test_the_relay_is_woken_by_the_commit_and_not_before(database: Database, database_urls: DatabaseUrls) -> None:
    woken: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(database_urls.worker)
    try:
        await listener.add_listener("outbox", lambda *heard: woken.put_nowait(heard[-1]))
        async with database.as_system() as tx:
            await tx.enqueue(DeliverMail(new_id()), DeliverMail(new_id()))
            await tx.session.execute(text("SELECT 1"))
            await listener.execute("SELECT 1")  # what was announced by now has arrived with this answer
            assert woken.empty()
        assert await asyncio.wait_for(woken.get(), 5) == "partner"
        assert woken.empty(), "one statement, one lane, one call"
    finally:
        await listener.close()


async def test_an_audit_row_says_who_did_what_in_which_request(database: Database, database_urls: DatabaseUrls) -> None:
    staff_id, license_id = new_id(), new_id()
    async with database.as_staff(staff_id, "request-1") as tx:
        await tx.audit("license.suspended", "license", license_id, reason="chargeback")
    (row,) = await rows(database_urls, "SELECT * FROM audit_log")
    assert row["at"].tzinfo is not None
    assert {name: row[name] for name in row if name not in {"id", "at"}} == {
        "actor_id": staff_id,
        "action": "license.suspended",
        "target_kind": "license",
        "target_id": str(license_id),
        "detail": {"reason": "chargeback"},
        "request_id": "request-1",
    }


async def test_the_system_acts_on_behalf_of_somebody(database: Database, database_urls: DatabaseUrls) -> None:
    actor: UUID = new_id()
    async with database.as_system(actor_id=actor, request_id="request-2") as tx:
        await tx.audit("test.done", "test", "1")
        assert await who(tx) == ("np_system", "")
    assert await rows(database_urls, "SELECT actor_id, request_id FROM audit_log") == [
        {"actor_id": actor, "request_id": "request-2"}
    ]
