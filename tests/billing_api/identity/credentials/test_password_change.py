"""Password change in a session."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from billing_api.access.tokens import TokenIssuer
from core.settings import ApiSettings
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

Visitors = Callable[..., Visitor]
Headers = dict[str, str]
NEW = "eleven blue tricycles"


async def change_password(
    visitor: Visitor, headers: Headers, current: str = PASSWORD, new: str = NEW
) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return await visitor.web.post("/api/v1/me/password", json=body, headers=headers)


async def test_a_new_password_ends_every_other_sign_in_and_begins_a_fresh_one(
    ada: Visitor,
    visitors: Visitors,
    mailbox: Mailbox,
    settings: ApiSettings,
    database_urls: DatabaseUrls,
    clock: Any,
) -> None:
    phone = visitors(ada.email)
    await phone.login()
    headers, copied = await ada.signed_in(), str(ada.cookie)
    clock.now += timedelta(minutes=10)
    changed = await change_password(ada, headers)
    assert (changed.status_code, changed.headers["cache-control"]) == (200, "no-store")
    assert TokenIssuer(settings.jwt_keys, clock).read(
        changed.json()["access_token"]
    ).authenticated_at == clock.now.replace(microsecond=0)
    assert (await ada.refresh()).status_code == 200
    assert (await phone.refresh()).status_code == 401
    phone.cookie = copied
    assert (await phone.refresh()).status_code == 401, "a copy of this session's own token is worth nothing either"
    assert (await phone.login()).json()["code"] == "invalid_credentials"
    assert (await phone.login(NEW)).status_code == 200
    assert await mailbox.templates(ada.email) == ["verify_email", "password_changed"]
    (audit,) = await rows(database_urls, "SELECT action, actor_id, target_id, detail FROM audit_log")
    assert (audit["action"], audit["detail"]) == ("password.changed", {"sessions_ended": 2})
    assert str(audit["actor_id"]) == audit["target_id"]


async def test_the_present_password_is_asked_for_and_guesses_are_the_sessions_own(
    ada: Visitor, visitors: Visitors
) -> None:
    """The thief of an access token must not find out the password with it."""
    headers = await ada.signed_in()
    answers = [await change_password(ada, headers, current=f"guess {number}") for number in range(5)]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert [answer.json()["code"] for answer in answers] == ["invalid_credentials"] * 4 + ["unauthenticated"]
    assert (await change_password(ada, headers)).json()["code"] == "unauthenticated", "the session has ended"
    again = await visitors(ada.email).signed_in()
    assert (await change_password(ada, again, current="wrong too")).status_code == 401
    assert (await change_password(ada, again)).status_code == 200


@pytest.mark.parametrize(
    ("new", "reason"),
    [("short", "10 to 128"), ("Password123!", "easy to guess"), ("AdaBuyer 1815", "what others know")],
)
async def test_a_weak_password_is_refused_with_a_reason(
    ada: Visitor, new: str, reason: str, database_urls: DatabaseUrls
) -> None:
    refused = await change_password(ada, await ada.signed_in(), new=new)
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"]) == (400, "new_password")
    assert reason in error["detail"]
    assert (await ada.login()).status_code == 200
    assert await rows(database_urls, "SELECT 1 FROM audit_log") == []


async def test_a_change_needs_a_sign_in_that_still_stands(ada: Visitor, database_urls: DatabaseUrls) -> None:
    assert (await change_password(ada, {})).status_code == 401
    headers = await ada.signed_in()
    await change(database_urls, "UPDATE users SET is_active = false")
    assert (await change_password(ada, headers)).json()["code"] == "unauthenticated"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"current_password": PASSWORD},
        {"current_password": PASSWORD, "new_password": None},
        {"current_password": PASSWORD, "new_password": "x" * 1001},
        {"current_password": PASSWORD, "new_password": NEW, "user_id": "somebody else's"},
    ],
)
async def test_a_body_that_does_not_fit_changes_nothing(ada: Visitor, body: Any) -> None:
    refused = await ada.web.post("/api/v1/me/password", json=body, headers=await ada.signed_in())
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert (await ada.login()).status_code == 200
