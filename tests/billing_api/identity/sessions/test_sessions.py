"""Session management: users list and end their own sessions, and no others."""

from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar

from core.ids import new_id
from devstack.valkey import Valkey
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/me/sessions"


@pytest.fixture
async def me(desk: Desk) -> Headers:
    return desk.signed_in(await desk.a_user())


async def another(desk: Desk, me: Headers, **facts: Any) -> str:
    """Another sign-in of the same user's."""
    return str(await desk.a_session(desk.user_of(me), **facts))


async def ids(client: Client, me: Headers) -> list[str]:
    return [session["id"] for session in (await client.get(PATH, headers=me)).json()["items"]]


async def test_sessions_are_listed_with_what_tells_them_apart(client: Client, desk: Desk, me: Headers) -> None:
    facts = {"user_agent": "Firefox", "address": "2001:db8::1", "last_seen_at": desk.clock() + timedelta(minutes=5)}
    other = await another(desk, me, **facts)
    body = (await client.get(PATH, headers=me)).json()
    assert (body["total"], [session["id"] for session in body["items"]]) == (2, [other, str(desk.user_of(me))])
    first = body["items"][0]
    assert first.keys() == {"id", "current", "user_agent", "address", "created_at", "last_seen_at", "expires_at"}
    assert (first["current"], first["user_agent"], first["address"]) == (False, "Firefox", "2001:db8::1")
    assert body["items"][1]["current"] is True


async def test_what_has_ended_or_expired_is_not_listed(
    client: Client, desk: Desk, me: Headers, clock: FakeTime
) -> None:
    await another(desk, me, revoked_at=clock())
    await another(desk, me, expires_at=clock())
    assert await ids(client, me) == [str(desk.user_of(me))]


async def test_an_ended_session_is_out_at_once_and_the_others_stay(client: Client, desk: Desk, me: Headers) -> None:
    other = await another(desk, me)
    there = desk.signed_in(desk.user_of(me), session_id=other)
    assert (await client.get("/api/v1/me", headers=there)).status_code == 200
    for _ in range(2):  # the first answer may have been lost
        answer = await client.delete(f"{PATH}/{other}", headers=me)
        assert (answer.status_code, answer.content) == (204, b"")
    refused = await client.get("/api/v1/me", headers=there)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert await ids(client, me) == [str(desk.user_of(me))]


async def test_the_end_of_a_session_is_audited_once(
    client: Client, desk: Desk, me: Headers, database_urls: DatabaseUrls
) -> None:
    other = await another(desk, me)
    for _ in range(2):
        await client.delete(f"{PATH}/{other}", headers=me)
    (audit,) = await rows(database_urls, "SELECT actor_id, action, target_id, detail FROM audit_log")
    assert (audit["actor_id"], audit["action"], audit["target_id"]) == (desk.user_of(me), "session.revoked", other)
    assert audit["detail"]["cause"] == "ended by its owner"


async def test_one_may_end_the_session_one_is_in(client: Client, desk: Desk, me: Headers) -> None:
    assert (await client.delete(f"{PATH}/{desk.user_of(me)}", headers=me)).status_code == 204
    assert (await client.get(PATH, headers=me)).status_code == 401


async def test_anothers_session_is_not_there(client: Client, desk: Desk, me: Headers) -> None:
    bob = desk.signed_in(await desk.a_user())
    for session_id in (desk.user_of(bob), new_id()):
        answer = await client.delete(f"{PATH}/{session_id}", headers=me)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await client.get(PATH, headers=bob)).status_code == 200


async def test_all_others_end_together(client: Client, desk: Desk, me: Headers) -> None:
    others = [await another(desk, me) for _ in range(3)]
    bob = desk.signed_in(await desk.a_user())
    answer = await client.post(f"{PATH}/revoke-others", headers=me)
    assert (answer.status_code, answer.json()) == (200, {"ended": 3})
    for other in others:
        there = desk.signed_in(desk.user_of(me), session_id=other)
        assert (await client.get("/api/v1/me", headers=there)).status_code == 401
    assert (await client.post(f"{PATH}/revoke-others", headers=me)).json() == {"ended": 0}
    assert (await client.get(PATH, headers=bob)).status_code == 200


async def test_when_it_was_last_seen_is_written_once_a_minute(
    client: Client,
    desk: Desk,
    me: Headers,
    app: Litestar,
    clock: FakeTime,
    database_urls: DatabaseUrls,
    valkey_server: Valkey,
) -> None:
    async def seen_after(seconds: int) -> Any:
        clock.now += timedelta(seconds=seconds)
        valkey_server.call("FLUSHALL")  # else Redis answers
        await client.get("/api/v1/me", headers=me)
        await app.state.api.infrastructure.uses.write()
        return (await rows(database_urls, "SELECT last_seen_at FROM sessions"))[0]["last_seen_at"]

    began = clock()
    assert await seen_after(59) == began
    assert await seen_after(1) == began + timedelta(minutes=1)


async def test_what_has_ended_does_not_live_again_whoever_writes_what(
    client: Client, desk: Desk, me: Headers, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    other = await another(desk, me, revoked_at=clock())
    for revival in ("NULL", "now() + interval '1 day'"):
        await change(database_urls, f"UPDATE sessions SET revoked_at = {revival} WHERE id = '{other}'")
    (row,) = await rows(database_urls, f"SELECT revoked_at FROM sessions WHERE id = '{other}'")
    assert row["revoked_at"] == clock()
