"""User administration: search, suspend, resume, give roles; one administrator is always left."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from core.ids import new_id
from db.models.identity import Role
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/users"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def emails(client: Client, admin: Headers, **query: str) -> set[str]:
    body = (await client.get(PATH, params=query, headers=admin)).json()
    assert body["total"] == len(body["items"])
    return {user["email"] for user in body["items"]}


async def test_users_are_found_by_what_is_known_of_them(client: Client, desk: Desk, admin: Headers) -> None:
    await desk.a_user(email="Ada@Example.com", full_name="Ada Lovelace", company_name="Engines Ltd")
    await desk.a_user(email="bob@100%.example", full_name="Bob_the Builder")
    await desk.a_user(Role.SUPPORT, email="sue@example.org", full_name="Sue", is_active=False)
    assert await emails(client, admin, q="lovel") == {"Ada@Example.com"}
    assert await emails(client, admin, q="ADA@ex") == {"Ada@Example.com"}
    assert await emails(client, admin, q="engines") == {"Ada@Example.com"}
    assert await emails(client, admin, q="100%") == {"bob@100%.example"}
    assert await emails(client, admin, q="b_t") == {"bob@100%.example"}
    assert await emails(client, admin, q="b%r") == set()
    assert await emails(client, admin, email="ada@example.COM") == {"Ada@Example.com"}
    assert await emails(client, admin, email="ada@example") == set()
    assert await emails(client, admin, role="support") == {"sue@example.org"}
    assert await emails(client, admin, status="suspended") == {"sue@example.org"}
    assert await emails(client, admin, role="support", status="active") == set()


async def test_a_search_is_paged_newest_first(client: Client, desk: Desk, admin: Headers) -> None:
    made = [str(await desk.a_user(full_name=f"Zed {n}", created_at=desk.clock() + timedelta(n))) for n in range(3)]
    page = (await client.get(PATH, params={"q": "zed", "limit": 2, "offset": 1}, headers=admin)).json()
    assert ([user["id"] for user in page["items"]], page["total"]) == (made[1::-1], 3)


async def test_one_user_without_any_secret(client: Client, desk: Desk, admin: Headers) -> None:
    user_id = await desk.a_user(company_name="Engines Ltd")
    body = (await client.get(f"{PATH}/{user_id}", headers=admin)).json()
    assert (body["id"], body["company_name"], body["status"], body["role"]) == (
        str(user_id), "Engines Ltd", "active", "customer",
    )  # fmt: skip
    assert not {"password_hash", "password"} & body.keys()
    assert (await client.get(f"{PATH}/{new_id()}", headers=admin)).status_code == 404


async def test_a_suspended_user_is_out_everywhere_at_once_and_comes_back_by_signing_in(
    client: Client, desk: Desk, admin: Headers, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    phone = desk.signed_in(user_id, session_id=await desk.a_session(user_id))
    desktop = desk.signed_in(user_id)
    for there in (phone, desktop):
        assert (await client.get("/api/v1/me", headers=there)).status_code == 200
    answer = await client.post(f"{PATH}/{user_id}/suspend", json={"reason": "card fraud"}, headers=admin)
    assert (answer.status_code, answer.json()["status"]) == (200, "suspended")
    for there in (phone, desktop):
        assert (await client.get("/api/v1/me", headers=there)).status_code == 401
    answer = await client.post(f"{PATH}/{user_id}/resume", json={"reason": "a mistake"}, headers=admin)
    assert (answer.status_code, answer.json()["status"]) == (200, "active")
    for there in (phone, desktop):
        assert (await client.get("/api/v1/me", headers=there)).status_code == 401
    again = desk.signed_in(user_id, session_id=await desk.a_session(user_id))
    assert (await client.get("/api/v1/me", headers=again)).status_code == 200
    audits = await rows(database_urls, "SELECT actor_id, action, target_id, detail FROM audit_log ORDER BY id")
    assert [(audit["action"], audit["target_id"], audit["detail"]["reason"]) for audit in audits] == [
        ("user.suspended", str(user_id), "card fraud"),
        ("user.resumed", str(user_id), "a mistake"),
    ]
    assert {audit["actor_id"] for audit in audits} == {desk.user_of(admin)}


async def test_a_new_role_holds_at_once(
    client: Client, desk: Desk, admin: Headers, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user(Role.SUPPORT)
    sue = desk.signed_in(user_id, Role.SUPPORT)
    assert (await client.get(PATH, headers=sue)).status_code == 200
    order = {"role": "customer", "reason": "left the team"}
    answer = await client.post(f"{PATH}/{user_id}/role", json=order, headers=admin)
    assert (answer.status_code, answer.json()["role"]) == (200, "customer")
    refused = await client.get(PATH, headers=sue)
    assert (refused.status_code, "refresh" in refused.json()["detail"]) == (401, True)
    assert (await client.get("/api/v1/me", headers=desk.signed_in(user_id))).status_code == 200
    (audit,) = await rows(database_urls, "SELECT action, detail FROM audit_log")
    assert (audit["action"], audit["detail"]) == (
        "user.role_changed", {"role": "customer", "was": "support", "reason": "left the team"},
    )  # fmt: skip


async def test_a_role_needs_a_fresh_sign_in(client: Client, desk: Desk, admin: Headers, clock: FakeTime) -> None:
    clock.now += timedelta(minutes=5, seconds=1)
    answer = await client.post(f"{PATH}/{await desk.a_user()}/role", json={"role": "admin"}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")


async def test_nobody_becomes_staff_whose_address_is_not_proved(client: Client, desk: Desk, admin: Headers) -> None:
    user_id = await desk.a_user(email_verified_at=None)
    answer = await client.post(f"{PATH}/{user_id}/role", json={"role": "support"}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("verb", "body"),
    [("role", {"role": "customer"}), ("role", {"role": "admin"}), ("suspend", {"reason": "tired"})],
)
async def test_nobody_does_it_to_himself(
    client: Client, desk: Desk, admin: Headers, verb: str, body: dict[str, str]
) -> None:
    await desk.staff()
    answer = await client.post(f"{PATH}/{desk.user_of(admin)}/{verb}", json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await client.get(PATH, headers=admin)).status_code == 200


@pytest.mark.parametrize(
    ("verb", "body"), [("role", {"role": "customer"}), ("role", {"role": "support"}), ("suspend", {"reason": "coup"})]
)
async def test_of_administrators_who_dethrone_each_other_one_is_left(
    client: Client, desk: Desk, verb: str, body: dict[str, str], database_urls: DatabaseUrls
) -> None:
    crowd = [await desk.staff() for _ in range(4)]
    pairs = [(by, of) for by in crowd for of in crowd if by is not of]
    answers = await asyncio.gather(
        *(client.post(f"{PATH}/{desk.user_of(of)}/{verb}", json=body, headers=by) for by, of in pairs)
    )
    assert {answer.status_code for answer in answers} <= {200, 401, 403}
    left = await rows(database_urls, "SELECT id FROM users WHERE role = 'admin' AND is_active")
    assert len(left) == 1
    for by, of in pairs:
        if desk.user_of(by) == left[0]["id"]:
            assert (await client.get(PATH, headers=of)).status_code == 401


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("suspend", {}),
        ("suspend", {"reason": ""}),
        ("resume", {"reason": "x", "role": "admin"}),
        ("role", {"role": "root"}),
        ("role", {}),
        ("impersonate", {}),
        ("impersonate", {"reason": "\x00"}),
    ],
)
async def test_what_is_incomplete_changes_nothing(
    client: Client, desk: Desk, admin: Headers, verb: str, body: dict[str, Any], database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    answer = await client.post(f"{PATH}/{user_id}/{verb}", json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert await rows(database_urls, "SELECT 1 FROM audit_log") == []


@pytest.mark.parametrize("verb", ["suspend", "resume", "role", "impersonate"])
async def test_who_is_not_there_is_not_found(client: Client, admin: Headers, verb: str) -> None:
    body = {"role": "support"} if verb == "role" else {"reason": "x"}
    answer = await client.post(f"{PATH}/{new_id()}/{verb}", json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
