"""Connections to a server that takes no writes any more are given up, so that the next ones find the primary."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

import pytest
from asyncpg import PostgresError, ReadOnlySQLTransactionError  # type: ignore[import-untyped]  # nobody has typed it
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.ids import new_id
from db.availability import is_absence, is_busy, is_gone
from db.driver import SystemSessions
from db.engine import create_engine
from db.reads import READERS, CustomerReads, OwnStatement
from db.unit_of_work import Database
from devstack.postgres import Postgres
from tests.support.servers import DatabaseUrls

DEMOTE = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
PID = "SELECT pg_backend_pid()"
MY_PID = "pg_backend_pid() AS pid"
WRITE = "CREATE TEMPORARY TABLE written (n int) ON COMMIT DROP"
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'going' USING ERRCODE = '{}'; END $$"


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    database = Database(create_engine(database_urls.worker, pool_size=2, name="test-demotion"))
    yield database
    await database.close()


async def demote(database: Database) -> set[int]:
    """Both connections of the pool; they are read-only from now on."""
    pids = set()
    async with database.engine.connect() as one, database.engine.connect() as other:
        for connection in (one, other):
            pids.add(await connection.scalar(text(PID)))
            await connection.commit()
            await connection.execute(text(DEMOTE))
            await connection.commit()
    return pids


async def pids_of(database: Database) -> set[int]:
    async with database.engine.connect() as one, database.engine.connect() as other:
        return {await connection.scalar(text(PID)) for connection in (one, other)}


async def write(database: Database) -> None:
    async with database.as_system() as tx:
        await tx.session.execute(text(WRITE))


async def test_one_refused_write_ends_all_connections_of_the_pool(database: Database) -> None:
    before = await demote(database)
    with pytest.raises(DBAPIError) as refused:
        await write(database)
    assert is_absence(refused.value)
    await write(database)
    assert not before & await pids_of(database)


async def test_so_does_one_that_the_driver_was_asked_for(database: Database) -> None:
    before = await demote(database)
    for _ in before:  # each hears for itself
        with pytest.raises(ReadOnlySQLTransactionError) as refused:
            async with database.as_system() as tx:
                await (await tx.driver()).execute(WRITE)
        assert is_absence(refused.value)
    await write(database)
    assert not before & await pids_of(database)


async def test_and_those_of_usage_reports(database_urls: DatabaseUrls) -> None:
    sessions = SystemSessions(database_urls.worker, name="test-demotion")
    try:
        async with sessions.session() as driver:
            before = (await driver.fetch(PID))[0][0]
            await driver.execute(DEMOTE)
        with pytest.raises(ReadOnlySQLTransactionError):
            async with sessions.transaction() as driver:
                await driver.execute(WRITE)
        async with sessions.transaction() as driver:
            await driver.execute(WRITE)
            assert (await driver.fetch(PID))[0][0] != before
    finally:
        await sessions.close()


async def test_and_those_that_only_read(database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """No write of theirs is ever refused, so they go by what the server reports."""
    monkeypatch.setattr("db.reads._DIAL_AGAIN_EVERY", 3600)  # once is enough, and not again while it stays so
    reads, statement = CustomerReads(database_urls.api, name="test-demotion"), OwnStatement(select(text(MY_PID)))

    async def asked() -> int:
        (row,) = await reads.rows(new_id(), statement, {})
        pid: int = row.pid
        return pid

    async def demoted() -> None:
        async with reads.session() as driver:
            await driver.execute(DEMOTE)

    try:
        first = await asked()
        assert await asked() == first
        await demoted()
        assert await asked() == first, "the answer that tells it"
        assert (second := await asked()) != first
        await demoted()
        assert [await asked(), await asked()] == [second, second], "read, and not dialed for each request"
    finally:
        await reads.close()


async def test_a_pool_that_others_use_up_is_busy(database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = CustomerReads(database_urls.api, name="test-busy")
    try:
        async with AsyncExitStack() as others:
            for _ in range(READERS):
                await others.enter_async_context(reads.session())
            monkeypatch.setattr("db.driver.LENT_WITHIN", 0.05)
            with pytest.raises(PoolTimeout) as refused:
                await reads.rows(new_id(), OwnStatement(select(text(MY_PID))), {})
        assert is_busy(refused.value)
        monkeypatch.undo()
        assert await reads.rows(new_id(), OwnStatement(select(text(MY_PID))), {})
    finally:
        await reads.close()


@pytest.mark.parametrize("state", ["25006", "57P01", "57P02", "57P03", "57P04"])
async def test_each_state_of_a_server_that_goes_is_an_absence(database: Database, state: str) -> None:
    with pytest.raises(DBAPIError) as failed:
        async with database.as_system() as tx:
            await tx.session.execute(text(RAISE.format(state)))
    assert is_gone(failed.value)
    assert is_absence(failed.value)


@pytest.mark.parametrize(
    ("login", "database"),
    [("np_api", "template0"), ("np_api", "nowhere"), ("nobody", "postgres")],
    ids=["takes no connections", "no such database", "login refused"],
)
async def test_a_server_that_lets_nobody_in_is_away(database_urls: DatabaseUrls, login: str, database: str) -> None:
    parts = urlsplit(database_urls.api)
    netloc = parts.netloc.replace("np_api", login, 1)
    url = urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))
    shut, sessions = Database(create_engine(url, name="tests")), SystemSessions(url, name="tests")
    try:
        with pytest.raises(DBAPIError) as failed:
            await write(shut)
        assert is_absence(failed.value)
        with pytest.raises(PostgresError) as refused:
            async with sessions.transaction():
                pass
        assert is_absence(refused.value)
    finally:
        await sessions.close()
        await shut.close()


async def test_a_wrong_statement_ends_nothing(database: Database) -> None:
    before = await pids_of(database)
    with pytest.raises(DBAPIError) as failed:
        async with database.as_system() as tx:
            await tx.session.execute(text("SELECT 1 / 0"))
    assert not is_gone(failed.value)
    assert await pids_of(database) == before


async def test_what_was_cut_while_it_was_idle_is_replaced_and_nobody_hears_of_it(
    database: Database, postgres: Postgres
) -> None:
    before = await pids_of(database)
    for pid in before:
        await asyncio.to_thread(postgres.run_sql, "SELECT pg_terminate_backend(:'pid', 5000)", pid=str(pid))
    await write(database)
    assert not before & await pids_of(database)
