"""Profile of a customer: read it, change it; absent is not null."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from core.ids import new_id
from db.models.identity import Role
from tests.billing_api.conftest import FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.visitors import Visitor


@pytest.fixture
def web(visitor: Visitor) -> httpx.AsyncClient:
    return visitor.web


@pytest.fixture
async def me(desk: Desk) -> Headers:
    return desk.signed_in(await desk.a_user(full_name="Ada Buyer", company_name="Buyers & Sons"))


async def test_everybody_reads_himself_and_nobody_else(web: httpx.AsyncClient, desk: Desk, me: Headers) -> None:
    other_id = await desk.a_user(Role.ADMIN, full_name="Root")
    mine = (await web.get("/api/v1/me", headers=me)).json()
    theirs = (await web.get("/api/v1/me", headers=desk.signed_in(other_id, Role.ADMIN))).json()
    assert (mine["full_name"], mine["role"]) == ("Ada Buyer", "customer")
    assert (theirs["full_name"], theirs["role"], theirs["id"]) == ("Root", "admin", str(other_id))
    assert mine["id"] != theirs["id"]


async def test_the_answer_has_these_facts_and_no_more(web: httpx.AsyncClient, me: Headers) -> None:
    body = (await web.get("/api/v1/me", headers=me)).json()
    assert body.keys() == {
        *("id", "email", "full_name", "company_name", "role", "email_verified", "created_at"),
        *("locale", "time_zone", "permissions", "second_factor", "session", "impersonated_by"),
    }
    assert body["impersonated_by"] is body["second_factor"] is body["locale"] is body["time_zone"] is None
    assert body["created_at"].endswith("Z")
    assert datetime.fromisoformat(body["created_at"]).tzinfo is not None


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ({}, ("Ada Buyer", "Buyers & Sons")),
        ({"full_name": "Ada Lovelace"}, ("Ada Lovelace", "Buyers & Sons")),
        ({"company_name": "Engines Ltd"}, ("Ada Buyer", "Engines Ltd")),
        ({"company_name": None}, ("Ada Buyer", None)),
        ({"full_name": "Zoë 王", "company_name": None}, ("Zoë 王", None)),
        ({"full_name": "Robert'); DROP TABLE users;--"}, ("Robert'); DROP TABLE users;--", "Buyers & Sons")),
    ],
)
async def test_what_is_given_changes_and_what_is_absent_stays(
    web: httpx.AsyncClient, me: Headers, desk: Desk, body: dict[str, Any], after: tuple[str, str | None]
) -> None:
    bystander = desk.signed_in(await desk.a_user(full_name="Bob", company_name="Bobs"))
    answer = await web.patch("/api/v1/me", json=body, headers=me)
    assert answer.status_code == 200
    assert (answer.json()["full_name"], answer.json()["company_name"]) == after
    assert (await web.get("/api/v1/me", headers=me)).json() == answer.json()
    assert (await web.get("/api/v1/me", headers=bystander)).json()["full_name"] == "Bob"


@pytest.mark.parametrize(
    "body",
    [
        {"full_name": None},
        {"full_name": ""},
        {"full_name": " "},
        {"full_name": "a\nb"},
        {"full_name": "a\n"},
        {"full_name": 1},
        {"full_name": "a" * 201},
        {"company_name": ""},
        {"company_name": "\x00"},
        {"locale": ""},
        {"locale": "english"},
        {"locale": "de_AT"},
        {"locale": "de-AT\n"},
        {"locale": "de-AT-1996-x-private"},
        {"time_zone": ""},
        {"time_zone": "CEST"},
        {"time_zone": "Europe"},
        {"time_zone": "Europe/Atlantis"},
        {"time_zone": "europe/vienna"},
        {"time_zone": "../etc/passwd"},
        {"time_zone": "/usr/share/zoneinfo/UTC"},
        {"time_zone": "Etc/../UTC"},
        {"time_zone": "posix/Europe/Vienna"},
        {"time_zone": "localtime"},
        {"time_zone": "Factory"},
        {"time_zone": "UTC\x00"},
        {"time_zone": "U" * 10_000},
        {"full_name": "Ada", "time_zone": "Mars/Olympus"},
        {"email": "new@example.com"},
        {"role": "admin"},
        {"id": "01a2041e-235a-72e4-b316-ce7d5cf5e521"},
        {"full_name": "Ada", "is_active": False},
        [],
        None,
        "text",
    ],
)
async def test_what_does_not_fit_changes_nothing(web: httpx.AsyncClient, me: Headers, body: Any) -> None:
    before = (await web.get("/api/v1/me", headers=me)).json()
    refused = await web.patch("/api/v1/me", json=body, headers=me)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert (await web.get("/api/v1/me", headers=me)).json() == before


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ({"locale": "de-at"}, {"locale": "de-AT"}),
        ({"locale": "ZH-hant-tw"}, {"locale": "zh-Hant-TW"}),
        ({"locale": "es-419"}, {"locale": "es-419"}),
        ({"time_zone": "Europe/Vienna"}, {"time_zone": "Europe/Vienna"}),
        ({"time_zone": "America/Argentina/Buenos_Aires"}, {"time_zone": "America/Argentina/Buenos_Aires"}),
        ({"time_zone": "Etc/GMT+12"}, {"time_zone": "Etc/GMT+12"}),
        ({"time_zone": "UTC", "locale": "en"}, {"time_zone": "UTC", "locale": "en"}),
    ],
)
async def test_language_and_time_zone_are_kept_until_they_are_removed(
    web: httpx.AsyncClient, me: Headers, sent: dict[str, str], kept: dict[str, str]
) -> None:
    first, changed = [await web.patch("/api/v1/me", json=sent, headers=me) for _ in range(2)]
    assert (first.status_code, changed.status_code) == (200, 200), first.text
    assert {name: changed.json()[name] for name in kept} == kept
    assert (await web.get("/api/v1/me", headers=me)).json() == changed.json()
    removed = await web.patch("/api/v1/me", json=dict.fromkeys(sent), headers=me)
    assert {removed.json()[name] for name in sent} == {None}


async def test_a_wrong_time_zone_is_told_with_an_example(web: httpx.AsyncClient, me: Headers) -> None:
    alone, both = [
        {
            error["field"]: error["detail"]
            for error in (await web.patch("/api/v1/me", json=body, headers=me)).json()["errors"]
        }
        for body in ({"time_zone": "CEST"}, {"time_zone": "CEST", "locale": "x"})
    ]
    assert alone["time_zone"] == both["time_zone"]
    assert "such as Europe/Vienna" in alone["time_zone"]
    assert both["locale"] == "must be a language tag such as en, de-AT or zh-Hant-TW"


async def test_permissions_are_those_of_the_role(web: httpx.AsyncClient, desk: Desk, me: Headers) -> None:
    mine = (await web.get("/api/v1/me", headers=me)).json()["permissions"]
    assert {"own_account", "own_credentials", "purchase", "own.licenses.read"} < set(mine)
    assert not [name for name in mine if name.startswith("admin.")]
    support = (await web.get("/api/v1/me", headers=await desk.staff(Role.SUPPORT))).json()["permissions"]
    admin = (await web.get("/api/v1/me", headers=await desk.staff())).json()["permissions"]
    assert set(mine) < set(support) < set(admin)
    assert not {"public", "signed"} & set(admin)
    assert mine == sorted(mine)


async def test_the_session_tells_its_age_and_how_it_was_opened(ada: Visitor, clock: FakeTime) -> None:
    began = clock.now
    signed_in = await ada.signed_in()
    clock.now += timedelta(minutes=7)
    session = (await ada.web.get("/api/v1/me", headers=signed_in)).json()["session"]
    ids = [one["id"] for one in (await ada.web.get("/api/v1/me/sessions", headers=signed_in)).json()["items"]]
    assert [session["id"]] == ids
    assert session["methods"] == ["pwd"]
    assert datetime.fromisoformat(session["authenticated_at"]) == began.replace(microsecond=0)


async def test_a_second_factor_is_shown_once_it_is_confirmed(
    web: httpx.AsyncClient, desk: Desk, me: Headers, database_urls: DatabaseUrls
) -> None:
    add = "INSERT INTO totp_factors (user_id, secret, started_at, confirmed_at) VALUES (:id, '', now(), :at)"
    await change(database_urls, add, id=await desk.a_user(), at=desk.clock())
    await change(database_urls, add, id=desk.user_of(me), at=None)
    assert (await web.get("/api/v1/me", headers=me)).json()["second_factor"] is None
    since = datetime.fromisoformat("2026-03-01T09:00:00Z")
    await change(
        database_urls, "UPDATE totp_factors SET confirmed_at = :at WHERE user_id = :id", id=desk.user_of(me), at=since
    )
    assert (await web.get("/api/v1/me", headers=me)).json()["second_factor"] == {
        "kind": "totp",
        "since": "2026-03-01T09:00:00Z",
    }


async def test_a_change_is_dated(web: httpx.AsyncClient, me: Headers, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE users SET updated_at = now() - interval '1 day'")
    await web.patch("/api/v1/me", json={"full_name": "Ada"}, headers=me)
    recent = await rows(database_urls, "SELECT 1 FROM users WHERE updated_at > now() - interval '1 minute'")
    assert len(recent) == 1


async def test_a_stranger_is_asked_to_sign_in(web: httpx.AsyncClient) -> None:
    for call in (web.get("/api/v1/me"), web.patch("/api/v1/me", json={"full_name": "Eve"})):
        answer = await call
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_an_account_that_is_gone_or_suspended_is_not_there(
    web: httpx.AsyncClient, me: Headers, desk: Desk, database_urls: DatabaseUrls
) -> None:
    await change(database_urls, "UPDATE users SET is_active = false")
    for headers in (me, desk.signed_in(new_id())):
        for body in (None, {}, {"full_name": "Still here"}):
            request = web.get("/api/v1/me", headers=headers) if body is None else web.patch(
                "/api/v1/me", json=body, headers=headers
            )  # fmt: skip
            assert (await request).status_code == 401
    assert await rows(database_urls, "SELECT 1 FROM users WHERE full_name = 'Still here'") == []
