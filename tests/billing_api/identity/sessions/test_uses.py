"""When a session was last seen: written behind the answers, once for many, and never in their way."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from billing_api.identity.sessions import uses as uses_of_sessions
from billing_api.identity.sessions.uses import SessionUses
from core.ids import new_id
from db.engine import create_engine
from db.unit_of_work import Database
from tests.billing_api.conftest import FakeTime
from tests.support.databases import as_owner, rows, until_blocked
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def uses(database: Database) -> AsyncIterator[SessionUses]:
    uses = SessionUses(database)
    yield uses
    await uses.close()


async def seen(urls: DatabaseUrls) -> list[Any]:
    return [row["last_seen_at"] for row in await rows(urls, "SELECT last_seen_at FROM sessions ORDER BY id")]


async def test_they_are_written_by_themselves(
    uses: SessionUses, desk: Desk, clock: FakeTime, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses_of_sessions, "WRITTEN_AFTER", 0.01)
    user_id = await desk.a_user()
    uses.note(user_id, clock() + timedelta(minutes=1))
    async with asyncio.timeout(10):
        while await seen(database_urls) != [clock() + timedelta(minutes=1)]:  # noqa: ASYNC110  the server has to be asked
            await asyncio.sleep(0.01)


async def test_the_end_writes_what_is_noted_and_the_later_instant_stays(
    uses: SessionUses, desk: Desk, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    uses.note(user_id, clock() + timedelta(minutes=2))
    await uses.close()
    uses.note(user_id, clock() + timedelta(minutes=1))
    await uses.close()
    assert await seen(database_urls) == [clock() + timedelta(minutes=2)]


async def test_a_write_that_is_under_way_at_the_end_is_finished(
    uses: SessionUses, desk: Desk, clock: FakeTime, database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses_of_sessions, "WRITTEN_AFTER", 0.0)
    user_id = await desk.a_user()
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT FROM sessions FOR UPDATE"))
        uses.note(user_id, clock() + timedelta(minutes=1))
        await until_blocked(database_urls)
        ending = asyncio.create_task(uses.close())
        await asyncio.sleep(0)  # it has begun
    await ending
    assert await seen(database_urls) == [clock() + timedelta(minutes=1)]


async def test_a_session_that_is_gone_is_passed_over(uses: SessionUses, clock: FakeTime) -> None:
    uses.note(new_id(), clock())
    await uses.write()


async def test_a_database_that_is_away_fails_nobody(clock: FakeTime) -> None:
    nowhere = Database(create_engine("postgresql://np_api@127.0.0.1:1/nowhere", name="test"))
    away = SessionUses(nowhere)
    away.note(new_id(), clock())
    await away.close()
    await nowhere.close()


async def test_no_more_is_noted_than_there_is_room_for(
    uses: SessionUses, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uses_of_sessions, "_MOST", 2)
    for _ in range(5):
        uses.note(new_id(), clock())
    assert len(uses._noted) == 2
