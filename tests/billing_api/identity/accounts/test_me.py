"""Profile of a customer: read it, change it; absent is not null."""

from datetime import datetime
from typing import Any

import httpx
import pytest

from core.ids import new_id
from db.models.identity import Role
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
    assert body.keys() == {"id", "email", "full_name", "company_name", "role", "email_verified", "created_at"}
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
