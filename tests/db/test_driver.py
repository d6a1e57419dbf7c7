"""The application's own sessions: each statement or a whole transaction, and a session in doubt is not used again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest

from db.driver import MOST_SESSIONS, SystemSessions
from tests.support.databases import opened, rows
from tests.support.servers import DatabaseUrls

_END_MYSELF = "DO $$ BEGIN SET ROLE np_api; PERFORM pg_terminate_backend(pg_backend_pid()); END $$"
_A_JOB = """INSERT INTO outbox (lane, job) VALUES ('projection', '{"type": "nothing"}')"""


@pytest.fixture
async def sessions(database_urls: DatabaseUrls) -> AsyncIterator[SystemSessions]:
    async with opened(database_urls):
        sessions = SystemSessions(database_urls.api, name="test")
        yield sessions
        await sessions.close()


async def count_of_jobs(urls: DatabaseUrls) -> int:
    return len(await rows(urls, "SELECT id FROM outbox"))


async def through_a_transaction(
    sessions: SystemSessions, pids: list[int], *statements: str, failure: Exception | None = None
) -> None:
    """A job is written and then the statements; `pids` is told whose connection it was."""
    async with sessions.transaction() as driver:
        pids.append((await driver.fetch("SELECT pg_backend_pid()"))[0][0])
        for statement in (_A_JOB, *statements):
            await driver.execute(statement)
        if failure is not None:
            raise failure


async def passing_over(sessions: SystemSessions) -> None:
    async with sessions.transaction() as driver:
        await driver.execute(_A_JOB)
        with suppress(asyncpg.PostgresError):
            await driver.execute("SELECT 1 / 0")


async def test_it_is_the_application_and_each_statement_commits(
    sessions: SystemSessions, database_urls: DatabaseUrls
) -> None:
    async with sessions.session() as driver:
        (row,) = await driver.fetch(
            "SELECT current_user, np_current_user(), current_setting('TimeZone'), current_setting('enable_seqscan')"
        )
        assert tuple(row) == ("np_system", None, "UTC", "off")
        await driver.execute(_A_JOB)
        assert await count_of_jobs(database_urls) == 1


async def test_a_transaction_commits_at_its_end(sessions: SystemSessions, database_urls: DatabaseUrls) -> None:
    async with sessions.transaction() as driver:
        await driver.execute(_A_JOB)
        assert await count_of_jobs(database_urls) == 0
    assert await count_of_jobs(database_urls) == 1


async def test_a_failure_rolls_back_and_the_session_is_used_again(
    sessions: SystemSessions, database_urls: DatabaseUrls
) -> None:
    pids: list[int] = []
    with pytest.raises(ValueError, match="ours"):
        await through_a_transaction(sessions, pids, failure=ValueError("ours"))
    with pytest.raises(asyncpg.DivisionByZeroError):
        await through_a_transaction(sessions, pids, "SELECT 1 / 0")
    assert pids[0] == pids[1]
    assert await count_of_jobs(database_urls) == 0


async def test_it_says_so_where_a_failure_was_passed_over(
    sessions: SystemSessions, database_urls: DatabaseUrls
) -> None:
    with pytest.raises(RuntimeError, match="was ignored"):
        await passing_over(sessions)
    assert await count_of_jobs(database_urls) == 0


async def test_a_session_given_up_in_the_midst_of_a_statement_is_not_used_again(
    sessions: SystemSessions, database_urls: DatabaseUrls
) -> None:
    pids: list[int] = []
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(through_a_transaction(sessions, pids, "SELECT pg_sleep(60)"), 0.2)
    assert await count_of_jobs(database_urls) == 0
    await through_a_transaction(sessions, pids)
    assert pids[0] != pids[1]


async def test_a_session_that_was_lost_is_not_used_again(sessions: SystemSessions, database_urls: DatabaseUrls) -> None:
    pids: list[int] = []
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await through_a_transaction(sessions, pids, _END_MYSELF)
    await through_a_transaction(sessions, pids)
    assert pids[0] != pids[1]
    assert await count_of_jobs(database_urls) == 1


async def pid_of(sessions: SystemSessions) -> int:
    async with sessions.session() as driver:
        pid: int = (await driver.fetch("SELECT pg_backend_pid()"))[0][0]
    return pid


async def test_a_connection_that_nobody_waits_for_is_lent_again(sessions: SystemSessions) -> None:
    assert len({await pid_of(sessions) for _ in range(5)}) == 1


async def test_those_who_wait_get_what_others_give_back(sessions: SystemSessions) -> None:
    pids = await asyncio.gather(*(pid_of(sessions) for _ in range(40)))
    assert len(set(pids)) == MOST_SESSIONS


async def test_one_that_was_closed_meanwhile_is_replaced(sessions: SystemSessions, database_urls: DatabaseUrls) -> None:
    first = await pid_of(sessions)
    other = await asyncpg.connect(database_urls.api)
    await other.execute(f"SELECT pg_terminate_backend({first})")
    await other.close()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await pid_of(sessions) != first
            except (asyncpg.InterfaceError, asyncpg.PostgresError, asyncpg.InternalClientError):
                # The server's farewell has not been read yet, or only a part of it.
                continue
            break


async def test_all_are_replaced_where_that_is_asked_for_those_in_use_too(sessions: SystemSessions) -> None:
    async with sessions.session() as driver:
        used: int = (await driver.fetch("SELECT pg_backend_pid()"))[0][0]
        idle = await pid_of(sessions)
        await sessions.replace_all()
    assert {used, idle} & {await pid_of(sessions), await pid_of(sessions)} == set()
