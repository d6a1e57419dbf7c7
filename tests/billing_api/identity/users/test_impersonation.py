"""Impersonation: an administrator sees what a customer sees, changes nothing, and leaves a trace."""

from datetime import timedelta

import jwt
import pytest

from db.models.identity import Role
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/users"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


@pytest.fixture
async def ada(desk: Desk) -> Headers:
    return desk.signed_in(await desk.a_user(full_name="Ada"))


async def as_ada(client: Client, desk: Desk, admin: Headers, ada: Headers) -> Headers:
    path = f"{PATH}/{desk.user_of(ada)}/impersonate"
    answer = await client.post(path, json={"reason": "a suspicion", "message": "her ticket 7"}, headers=admin)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.json().keys() == {"access_token", "token_type", "expires_in"}
    assert answer.json()["expires_in"] == 300
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


async def test_he_sees_what_the_customer_sees(client: Client, desk: Desk, admin: Headers, ada: Headers) -> None:
    license_id = (await desk.a_license(desk.user_of(ada))).license.id
    looking = await as_ada(client, desk, admin, ada)
    assert (await client.get("/api/v1/me", headers=looking)).json()["full_name"] == "Ada"
    seen = (await client.get("/api/v1/licenses", headers=looking)).json()["items"]
    assert [license_["id"] for license_ in seen] == [str(license_id)]


async def test_the_account_says_who_looks_and_what_may_be_read(client: Client, desk: Desk, ada: Headers) -> None:
    root = await desk.a_user(Role.ADMIN, full_name="Root")
    seen = (
        await client.get("/api/v1/me", headers=await as_ada(client, desk, desk.signed_in(root, Role.ADMIN), ada))
    ).json()
    assert (seen["id"], seen["full_name"], seen["role"]) == (str(desk.user_of(ada)), "Ada", "customer")
    assert seen["impersonated_by"] == {"id": str(root), "full_name": "Root"}
    assert seen["session"] is None, "it is the administrator's own"
    assert {"own_account", "own.licenses.read"} <= set(seen["permissions"])
    assert not {"own_credentials", "purchase"} & set(seen["permissions"])
    assert (await client.get("/api/v1/me", headers=ada)).json()["impersonated_by"] is None


async def test_the_token_says_who_it_really_is(client: Client, desk: Desk, admin: Headers, ada: Headers) -> None:
    looking = await as_ada(client, desk, admin, ada)
    claims = jwt.decode(looking["Authorization"].removeprefix("Bearer "), options={"verify_signature": False})
    assert (claims["sub"], claims["act"]) == (str(desk.user_of(ada)), {"sub": str(desk.user_of(admin))})
    assert (claims["role"], claims["exp"] - claims["iat"]) == ("customer", 300)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "me"),
        ("POST", "licenses/01a2041e-235a-72e4-b316-ce7d5cf5e521/reveal-key"),
        ("POST", "checkout/sessions"),
        ("GET", "me/sessions"),
        ("POST", "me/sessions/revoke-others"),
        ("DELETE", "me/sessions/01a2041e-235a-72e4-b316-ce7d5cf5e521"),
        ("GET", "admin/users"),
        ("GET", "admin/licenses"),
    ],
)
async def test_he_changes_nothing_and_touches_no_credentials(
    client: Client, desk: Desk, admin: Headers, ada: Headers, method: str, path: str
) -> None:
    looking = await as_ada(client, desk, admin, ada)
    answer = await client.request(method, f"/api/v1/{path}", json={"full_name": "Eve"}, headers=looking)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_the_customer_reads_of_it_and_so_does_the_audit_trail(
    client: Client, desk: Desk, admin: Headers, ada: Headers, database_urls: DatabaseUrls
) -> None:
    bob = desk.signed_in(await desk.a_user())
    await as_ada(client, desk, admin, ada)
    (event,) = (await client.get("/api/v1/me/events", headers=ada)).json()["items"]
    assert (event["action"], event["message"]) == ("user.impersonated", "her ticket 7")
    assert (await client.get("/api/v1/me/events", headers=bob)).json()["total"] == 0
    (audit,) = await rows(database_urls, "SELECT actor_id, action, target_id FROM audit_log")
    assert (audit["actor_id"], audit["target_id"]) == (desk.user_of(admin), str(desk.user_of(ada)))


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.ADMIN])
async def test_nobody_acts_as_staff(client: Client, desk: Desk, admin: Headers, role: Role) -> None:
    answer = await client.post(f"{PATH}/{await desk.a_user(role)}/impersonate", json={"reason": "x"}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_support_does_not_impersonate(client: Client, desk: Desk, ada: Headers) -> None:
    path = f"{PATH}/{desk.user_of(ada)}/impersonate"
    answer = await client.post(path, json={"reason": "x"}, headers=await desk.staff(Role.SUPPORT))
    assert answer.status_code == 403


async def test_nobody_impersonates_while_impersonating(
    client: Client, desk: Desk, admin: Headers, ada: Headers
) -> None:
    looking = await as_ada(client, desk, admin, ada)
    path = f"{PATH}/{await desk.a_user()}/impersonate"
    assert (await client.post(path, json={"reason": "x"}, headers=looking)).status_code == 403


async def test_it_ends_after_five_minutes(
    client: Client, desk: Desk, admin: Headers, ada: Headers, clock: FakeTime
) -> None:
    looking = await as_ada(client, desk, admin, ada)
    clock.now += timedelta(minutes=5)
    assert (await client.get("/api/v1/me", headers=looking)).status_code == 401


async def test_it_ends_with_the_administrators_session(
    client: Client, desk: Desk, admin: Headers, ada: Headers
) -> None:
    looking = await as_ada(client, desk, admin, ada)
    await client.delete(f"/api/v1/me/sessions/{desk.user_of(admin)}", headers=admin)
    assert (await client.get("/api/v1/me", headers=looking)).status_code == 401


@pytest.mark.parametrize(
    ("whose", "verb", "body"),
    [
        ("admin", "role", {"role": "support"}),
        ("admin", "suspend", {"reason": "x"}),
        ("ada", "suspend", {"reason": "x"}),
        ("ada", "role", {"role": "support"}),
    ],
)
async def test_it_ends_when_either_of_them_is_no_longer_what_he_was(
    client: Client, desk: Desk, admin: Headers, ada: Headers, whose: str, verb: str, body: dict[str, str]
) -> None:
    looking = await as_ada(client, desk, admin, ada)
    user_id = desk.user_of({"admin": admin, "ada": ada}[whose])
    answer = await client.post(f"{PATH}/{user_id}/{verb}", json=body, headers=await desk.staff())
    assert answer.status_code == 200
    assert (await client.get("/api/v1/me", headers=looking)).status_code == 401


async def test_the_customer_is_left_signed_in(client: Client, desk: Desk, admin: Headers, ada: Headers) -> None:
    looking = await as_ada(client, desk, admin, ada)
    assert (await client.get("/api/v1/me", headers=looking)).status_code == 200
    assert (await client.get("/api/v1/me/sessions", headers=ada)).json()["total"] == 1
