"""Refresh token rotation: tabs that race each other, and reuse of copied tokens."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from db.models.identity import Role
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.servers import DatabaseUrls
from tests.support.visitors import Visitor

Visitors = Callable[..., Visitor]


@pytest.fixture
async def signed_in(ada: Visitor) -> Visitor:
    assert (await ada.login()).status_code == 200
    return ada


def refresh_token_of(answer: httpx.Response) -> str:
    return answer.cookies["np_refresh"]


async def present(visitor: Visitor, token: str) -> httpx.Response:
    """Sends this token instead of the one in the cookie jar."""
    visitor.cookie = token
    return await visitor.refresh()


async def test_each_refresh_gives_the_next_token(signed_in: Visitor, database_urls: DatabaseUrls, clock: Any) -> None:
    seen = {signed_in.cookie}
    for _ in range(3):
        clock.now += timedelta(days=6)
        answer = await signed_in.refresh()
        assert answer.status_code == 200
        assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
        assert answer.headers["cache-control"] == "no-store"
        assert (await signed_in.me(answer.json()["access_token"])).status_code == 200
        seen.add(signed_in.cookie)
    assert len(seen) == 4
    (session,) = await rows(database_urls, "SELECT expires_at FROM sessions")
    assert session["expires_at"] == clock() + timedelta(days=7)


async def test_where_and_when_it_was_used_last_is_written_down(
    signed_in: Visitor, database_urls: DatabaseUrls, clock: Any
) -> None:
    facts = "SELECT address, last_seen_at FROM sessions"
    assert await rows(database_urls, facts) == [{"address": "127.0.0.1", "last_seen_at": clock()}]
    await change(database_urls, "UPDATE sessions SET address = '198.51.100.1'")
    clock.now += timedelta(days=1)
    assert (await signed_in.refresh()).status_code == 200
    assert await rows(database_urls, facts) == [{"address": "127.0.0.1", "last_seen_at": clock()}]


async def test_a_refresh_is_no_sign_in(signed_in: Visitor, clock: Any) -> None:
    clock.now += timedelta(minutes=6)
    access_token = (await signed_in.refresh()).json()["access_token"]
    answer = await signed_in.web.post(
        "/api/v1/licenses/01a2041e-235a-72e4-b316-ce7d5cf5e521/reveal-key",
        headers={"Authorization": f"Bearer {access_token}"},
    )
    assert answer.json()["code"] == "step_up_required"


async def test_a_week_without_a_refresh_ends_it(signed_in: Visitor, clock: Any) -> None:
    clock.now += timedelta(days=7)
    refused = await signed_in.refresh()
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")


async def test_three_tabs_that_refresh_at_once_stay_signed_in(signed_in: Visitor, clock: Any) -> None:
    answers = await asyncio.gather(*(signed_in.refresh() for _ in range(3)))
    assert [answer.status_code for answer in answers] == [200] * 3
    for answer in answers:
        assert (await signed_in.me(answer.json()["access_token"])).status_code == 200
    # Whichever answer came last, its cookie is the browser's; each of them must lead on.
    assert len({refresh_token_of(answer) for answer in answers}) == 1
    clock.now += timedelta(minutes=15)
    assert (await signed_in.refresh()).status_code == 200


async def test_the_token_before_counts_for_ten_seconds(signed_in: Visitor, clock: Any) -> None:
    first = str(signed_in.cookie)
    second = refresh_token_of(await signed_in.refresh())
    clock.now += timedelta(seconds=10)
    late = await present(signed_in, first)
    assert late.status_code == 200
    assert refresh_token_of(late) == second
    assert (await present(signed_in, second)).status_code == 200


async def test_a_token_that_comes_back_later_ends_the_family(
    signed_in: Visitor, visitors: Visitors, database_urls: DatabaseUrls, clock: Any
) -> None:
    """A thief copied the first token and the owner refreshed, or the other way round: nobody can tell which."""
    thief, first = visitors(), str(signed_in.cookie)
    second = refresh_token_of(await signed_in.refresh())
    clock.now += timedelta(seconds=10.1)
    assert (await present(thief, first)).status_code == 401
    assert (await present(signed_in, second)).status_code == 401
    (session,) = await rows(database_urls, "SELECT revoked_at FROM sessions")
    assert session["revoked_at"] == clock()
    (audit,) = await rows(database_urls, "SELECT action, detail FROM audit_log")
    assert (audit["action"], audit["detail"]["cause"]) == ("session.revoked", "refresh token reused")


async def test_a_thief_who_refreshes_more_than_once_is_found_all_the_same(
    signed_in: Visitor, visitors: Visitors
) -> None:
    thief, first = visitors(), str(signed_in.cookie)
    stolen = refresh_token_of(await present(thief, first))
    stolen = refresh_token_of(await present(thief, stolen))
    assert (await present(signed_in, first)).status_code == 401
    assert (await present(thief, stolen)).status_code == 401


async def test_other_sign_ins_of_the_user_are_left_alone(signed_in: Visitor, visitors: Visitors, clock: Any) -> None:
    phone, first = visitors(signed_in.email), str(signed_in.cookie)
    await phone.login()
    await signed_in.refresh()
    clock.now += timedelta(minutes=1)
    assert (await present(signed_in, first)).status_code == 401
    assert (await phone.refresh()).status_code == 200


FORGE: dict[str, Callable[[str], str]] = {
    "one symbol off": lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    "a guess": lambda token: token.partition(".")[0] + "." + "A" * 43,
    "the id alone": lambda token: token.partition(".")[0],
}


@pytest.mark.parametrize("forge", FORGE.values(), ids=FORGE)
@pytest.mark.parametrize("call", ["refresh", "logout"])
async def test_whoever_knows_the_sessions_id_alone_ends_nothing(
    signed_in: Visitor, visitors: Visitors, forge: Callable[[str], str], call: str, database_urls: DatabaseUrls
) -> None:
    """A session id is visible in access tokens and in the list of sessions."""
    stranger, good = visitors(), str(signed_in.cookie)
    stranger.cookie = forge(good)
    assert (await stranger.post(call)).status_code == (401 if call == "refresh" else 204)
    assert await rows(database_urls, "SELECT 1 FROM audit_log") == []
    assert (await present(signed_in, good)).status_code == 200


async def test_an_older_token_of_the_family_signs_out_as_well(
    signed_in: Visitor, visitors: Visitors, clock: Any
) -> None:
    elsewhere, first = visitors(), str(signed_in.cookie)
    second = refresh_token_of(await signed_in.refresh())
    clock.now += timedelta(minutes=1)
    elsewhere.cookie = first
    assert (await elsewhere.logout()).status_code == 204
    assert (await present(signed_in, second)).status_code == 401


async def test_an_access_token_signs_out_its_own_session_only(ada: Visitor, visitors: Visitors) -> None:
    phone, script = visitors(ada.email), visitors(ada.email)
    await ada.login()
    bearer = await phone.signed_in()
    assert (await script.logout(**bearer)).status_code == 204
    assert (await phone.refresh()).status_code == 401
    assert (await script.web.get("/api/v1/me", headers=bearer)).status_code == 401
    assert (await ada.refresh()).status_code == 200


async def test_cookie_and_access_token_each_sign_out_their_own(ada: Visitor, visitors: Visitors) -> None:
    phone, tablet = visitors(ada.email), visitors(ada.email)
    await ada.login()
    await tablet.login()
    bearer = await phone.signed_in()
    assert (await ada.logout(**bearer)).status_code == 204
    assert [(await each.refresh()).status_code for each in (phone, ada, tablet)] == [401, 401, 200]


async def test_two_who_sign_out_crosswise_at_once_do_not_wait_for_each_other(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    phone = visitors(ada.email)
    bearers = [await ada.signed_in(), await phone.signed_in()]
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT 1 FROM sessions FOR UPDATE"))
        leaving = [asyncio.create_task(ada.logout(**bearers[1])), asyncio.create_task(phone.logout(**bearers[0]))]
        await until_blocked(database_urls, 2)
    assert [(await each).status_code for each in leaving] == [204, 204]
    assert [(await each.refresh()).status_code for each in (ada, phone)] == [401, 401]


@pytest.mark.parametrize(
    "token", ["x", "' OR 1=1 --", "0" * 32, f"{'0' * 32}.{'A' * 43}", f"{'g' * 32}.{'A' * 43}", "."]
)
async def test_what_is_no_token_of_ours_is_refused(signed_in: Visitor, visitors: Visitors, token: str) -> None:
    refused = await present(visitors(), token)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert (await signed_in.refresh()).status_code == 200


async def test_without_a_cookie_there_is_nothing_to_refresh(visitor: Visitor) -> None:
    refused = await visitor.refresh()
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert refused.json()["detail"] == "the refresh cookie is missing: sign in with POST auth/login"


async def test_an_access_token_refreshes_nothing(ada: Visitor, visitors: Visitors) -> None:
    access_token = (await ada.login()).json()["access_token"]
    assert (await present(visitors(), access_token)).status_code == 401


async def test_signing_out_ends_the_family_and_the_cookie(signed_in: Visitor, visitors: Visitors) -> None:
    first = str(signed_in.cookie)
    second = refresh_token_of(await signed_in.refresh())
    answer = await signed_in.logout()
    assert (answer.status_code, answer.content) == (204, b"")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert "Path=/api/v1/auth" in answer.headers["set-cookie"]
    assert signed_in.cookie is None
    for token in (first, second):
        assert (await present(visitors(), token)).status_code == 401


@pytest.mark.parametrize("token", [None, "garbage", f"{'0' * 32}.{'A' * 43}"])
async def test_signing_out_twice_or_without_a_session_is_no_error(visitor: Visitor, token: str | None) -> None:
    if token:
        visitor.cookie = token
    assert (await visitor.logout()).status_code == 204


async def test_a_suspended_user_is_signed_out_at_the_next_refresh(
    signed_in: Visitor, database_urls: DatabaseUrls
) -> None:
    await change(database_urls, "UPDATE users SET is_active = false")
    assert (await signed_in.refresh()).status_code == 401
    await change(database_urls, "UPDATE users SET is_active = true")
    assert (await signed_in.refresh()).status_code == 401


async def test_a_new_role_holds_from_the_next_refresh_on(signed_in: Visitor, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE users SET role = 'support'")
    access_token = (await signed_in.refresh()).json()["access_token"]
    assert (await signed_in.me(access_token)).json()["role"] == Role.SUPPORT
    found = await signed_in.web.get("/api/v1/admin/licenses", headers={"Authorization": f"Bearer {access_token}"})
    assert found.status_code == 200
