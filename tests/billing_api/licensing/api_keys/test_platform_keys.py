"""Keys of the seller's own NextPanel: made by an administrator or an operator, good for every license."""

import asyncio
from typing import Any

import pytest

from billing_api.__main__ import main
from billing_api.server.wiring.services import Services
from core.settings import ApiSettings
from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.billing_api.licensing.api_keys.reporting import forget, reported
from tests.support.databases import rows
from tests.support.environment import environment
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/platform-keys"
ALL = ["lease", "reserve", "usage", "validate"]


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def made(client: Client, admin: Headers, **changes: Any) -> dict[str, Any]:
    answer = await client.post(PATH, headers=admin, json={"name": "panels", "permissions": ALL} | changes)
    assert answer.status_code == 201, answer.text
    given: dict[str, Any] = answer.json()
    return {**given["platform_key"], "secret": given["secret"]}


async def test_one_key_speaks_for_every_license(client: Client, admin: Headers, desk: Desk) -> None:
    key = await made(client, admin)
    for _ in range(2):
        issued = await desk.a_license(await desk.a_user())
        assert await reported(client, issued.key, key["key_id"], key["secret"]) == 200


async def test_it_may_do_what_it_was_given_alone(client: Client, admin: Headers, desk: Desk) -> None:
    key = await made(client, admin, permissions=["validate"])
    issued = await desk.a_license(await desk.a_user())
    assert await reported(client, issued.key, key["key_id"], key["secret"]) == 403


async def test_the_list_shows_no_secret_and_no_customers_key(client: Client, admin: Headers, desk: Desk) -> None:
    key = await made(client, admin)
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    order = {"name": "mine", "permissions": ALL}
    path = f"/api/v1/licenses/{issued.license.id}/api-keys"
    assert (await client.post(path, headers=desk.signed_in(owner), json=order)).status_code == 201
    page = await client.get(PATH, headers=admin)
    assert [item["key_id"] for item in page.json()["items"]] == [key["key_id"]]
    assert key["secret"] not in page.text


async def test_a_rotated_key_works_with_both_secrets_for_the_overlap(
    client: Client, admin: Headers, desk: Desk, services: Services
) -> None:
    key, issued = await made(client, admin), await desk.a_license(await desk.a_user())
    answer = await client.post(f"{PATH}/{key['id']}/rotate", headers=admin, json={"overlap_seconds": 60})
    assert answer.status_code == 200
    forget(services)
    for secret in (key["secret"], answer.json()["secret"]):
        assert await reported(client, issued.key, key["key_id"], secret) == 200
    ended = await client.post(f"{PATH}/{key['id']}/rotate", headers=admin, json={"overlap_seconds": 0})
    forget(services)
    assert await reported(client, issued.key, key["key_id"], answer.json()["secret"]) == 401
    assert await reported(client, issued.key, key["key_id"], ended.json()["secret"]) == 200


async def test_a_revoked_key_is_refused_and_twice_is_once(
    client: Client, admin: Headers, desk: Desk, services: Services, database_urls: DatabaseUrls
) -> None:
    key, issued = await made(client, admin), await desk.a_license(await desk.a_user())
    for _ in range(2):
        assert (await client.delete(f"{PATH}/{key['id']}", headers=admin)).status_code == 204
    forget(services)
    assert await reported(client, issued.key, key["key_id"], key["secret"]) == 401
    assert (await client.post(f"{PATH}/{key['id']}/rotate", headers=admin)).status_code == 409
    told = await rows(database_urls, "SELECT action FROM audit_log WHERE target_kind = 'api_key' ORDER BY id")
    assert [row["action"] for row in told] == ["platform_key.created", "platform_key.revoked"]


async def test_the_same_order_twice_makes_one_key(client: Client, admin: Headers) -> None:
    once = admin | {"Idempotency-Key": "the-first-key"}
    first, second = await made(client, once), await made(client, once)
    assert first == second
    assert (await client.get(PATH, headers=admin)).json()["total"] == 1


async def test_a_key_of_a_license_is_none_of_the_platform(client: Client, admin: Headers, desk: Desk) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    order = {"name": "mine", "permissions": ALL}
    path = f"/api/v1/licenses/{issued.license.id}/api-keys"
    mine = (await client.post(path, headers=desk.signed_in(owner), json=order)).json()["api_key"]["id"]
    assert (await client.post(f"{PATH}/{mine}/rotate", headers=admin)).status_code == 404
    assert (await client.delete(f"{PATH}/{mine}", headers=admin)).status_code == 404


async def test_an_end_in_the_past_is_refused(client: Client, admin: Headers) -> None:
    order = {"name": "late", "permissions": ALL, "expires_at": "2020-01-01T00:00:00Z"}
    assert (await client.post(PATH, headers=admin, json=order)).status_code == 400


async def test_only_administrators_of_a_fresh_login_make_one(client: Client, desk: Desk) -> None:
    order = {"name": "panels", "permissions": ALL}
    support = await desk.staff(Role.SUPPORT)
    assert (await client.get(PATH, headers=support)).status_code == 403
    assert (await client.post(PATH, headers=support, json=order)).status_code == 403


async def test_the_first_one_is_made_by_an_operator(
    client: Client,
    desk: Desk,
    settings: ApiSettings,
    database_urls: DatabaseUrls,
    valkey: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(database_urls, redis_url=valkey).items():
        monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(main, ["create-platform-key", "--name", "first panel"]) == 0
    shown = capsys.readouterr()
    told = dict(line.split(": ") for line in shown.out.splitlines())
    assert "not shown again" in shown.err
    issued = await desk.a_license(await desk.a_user())
    assert await reported(client, issued.key, told["key id"], told["secret"]) == 200
    (row,) = await rows(database_urls, "SELECT action, detail FROM audit_log WHERE target_kind = 'api_key'")
    assert (row["action"], row["detail"]["by"]) == ("platform_key.created", "command line")
