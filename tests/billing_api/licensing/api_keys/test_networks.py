"""Allowed networks of platform keys: set by administrators, kept by a rotation, enforced where usage is reported."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from billing_api.__main__ import main
from billing_api.server.app import create_app
from billing_api.server.wiring.services import Services
from core.settings import ApiSettings
from tests.billing_api.conftest import Client, FakeTime
from tests.billing_api.licensing.api_keys.reporting import forget, report, reported
from tests.support.databases import change, rows
from tests.support.environment import environment
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.visitors import alive, browser

PATH = "/api/v1/admin/platform-keys"
HERE, ELSEWHERE = "127.0.0.0/8", "203.0.113.0/24"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def made(client: Client, admin: Headers, *networks: str) -> dict[str, Any]:
    order = {"name": "panels", "permissions": ["usage"], "networks": networks}
    answer = await client.post(PATH, headers=admin, json=order)
    assert answer.status_code == 201, answer.text
    given: dict[str, Any] = answer.json()
    return {**given["platform_key"], "secret": given["secret"]}


async def changed(client: Client, admin: Headers, key: dict[str, Any], **order: Any) -> dict[str, Any]:
    answer = await client.patch(f"{PATH}/{key['id']}", headers=admin, json=order)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def test_from_another_network_it_is_refused_and_told_which_address_was_seen(
    client: Client, admin: Headers, desk: Desk
) -> None:
    key, issued = await made(client, admin, ELSEWHERE), await desk.a_license(await desk.a_user())
    for _ in range(2):
        refused = await report(client, issued.key, key["key_id"], key["secret"])
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["conclusive"]) == (403, "network_not_allowed", True)
        assert "127.0.0.1" in problem["detail"]
        assert ELSEWHERE not in refused.text
    assert await reported(client, issued.key, key["key_id"], "guessed") == 401


@pytest.mark.parametrize("networks", [(), (HERE,), (ELSEWHERE, "::ffff:127.0.0.1")])
async def test_from_its_own_network_it_reports(
    client: Client, admin: Headers, desk: Desk, networks: tuple[str, ...]
) -> None:
    key, issued = await made(client, admin, *networks), await desk.a_license(await desk.a_user())
    assert await reported(client, issued.key, key["key_id"], key["secret"]) == 200


async def test_networks_are_kept_in_their_shortest_form(client: Client, admin: Headers) -> None:
    given = ["2001:DB8:0::/32", "203.0.113.0/25", "203.0.113.128/25", "::ffff:198.51.100.7"]
    key = await made(client, admin, *given)
    assert key["networks"] == ["198.51.100.7/32", "203.0.113.0/24", "2001:db8::/32"]
    (listed,) = (await client.get(PATH, headers=admin)).json()["items"]
    assert listed["networks"] == key["networks"]


@pytest.mark.parametrize(
    "networks",
    [
        ["203.0.113.7/24"],
        ["example.com"],
        [""],
        ["x" * 65],
        [7],
        "203.0.113.0/24",
        [f"203.0.{number}.0/24" for number in range(17)],
    ],
)
async def test_what_is_no_list_of_networks_is_refused(client: Client, admin: Headers, networks: Any) -> None:
    key = await made(client, admin)
    order = {"name": "panels", "permissions": ["usage"], "networks": networks}
    for answer in (
        await client.post(PATH, headers=admin, json=order),
        await client.patch(f"{PATH}/{key['id']}", headers=admin, json={"networks": networks}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
        assert answer.json()["errors"][0]["field"].startswith("networks")


async def test_the_database_holds_what_is_typed_into_it_to_the_form(
    client: Client, admin: Headers, database_urls: DatabaseUrls
) -> None:
    await made(client, admin)
    for typed in ('["example.com"]', '["203.0.113.7/24"]', '["203.0.113/24"]', "{}", '"203.0.113.0/24"'):
        with pytest.raises(DBAPIError):
            await change(database_urls, "UPDATE api_keys SET networks = CAST(:typed AS jsonb)", typed=typed)


async def test_a_change_counts_keeps_what_it_does_not_name_and_is_audited_once(
    client: Client, admin: Headers, desk: Desk, services: Services, database_urls: DatabaseUrls
) -> None:
    key, issued = await made(client, admin, HERE), await desk.a_license(await desk.a_user())
    for _ in range(2):
        view = await changed(client, admin, key, networks=[ELSEWHERE])
        assert (view["networks"], view["permissions"], view["name"]) == ([ELSEWHERE], ["usage"], "panels")
    forget(services)
    assert await reported(client, issued.key, key["key_id"], key["secret"]) == 403
    view = await changed(client, admin, key, networks=[], name="all panels", permissions=["usage", "validate", "usage"])
    assert (view["networks"], view["permissions"], view["name"]) == ([], ["usage", "validate"], "all panels")
    forget(services)
    assert await reported(client, issued.key, key["key_id"], key["secret"]) == 200
    assert (await changed(client, admin, key))["networks"] == []
    told = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'platform_key.changed' ORDER BY id")
    assert [(row["detail"]["before"], row["detail"]["after"]) for row in told] == [
        ({"networks": [HERE]}, {"networks": [ELSEWHERE]}),
        (
            {"name": "panels", "permissions": ["usage"], "networks": [ELSEWHERE]},
            {"name": "all panels", "permissions": ["usage", "validate"], "networks": []},
        ),
    ]


async def test_a_rotation_keeps_networks(client: Client, admin: Headers, desk: Desk, services: Services) -> None:
    key, issued = await made(client, admin, ELSEWHERE), await desk.a_license(await desk.a_user())
    rotated = (await client.post(f"{PATH}/{key['id']}/rotate", headers=admin)).json()
    assert rotated["platform_key"]["networks"] == [ELSEWHERE]
    forget(services)
    assert await reported(client, issued.key, key["key_id"], rotated["secret"]) == 403


async def test_a_revoked_key_is_not_changed(client: Client, admin: Headers) -> None:
    key = await made(client, admin)
    await client.delete(f"{PATH}/{key['id']}", headers=admin)
    answer = await client.patch(f"{PATH}/{key['id']}", headers=admin, json={"networks": [HERE]})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_behind_a_proxy_its_word_counts_and_no_other(
    client: Client, admin: Headers, desk: Desk, settings: ApiSettings, app_clock: FakeTime
) -> None:
    key, issued = await made(client, admin, ELSEWHERE), await desk.a_license(await desk.a_user())
    proxied = replace(settings, trusted_proxies=(ip_network("127.0.0.1/32"),))
    async with alive(create_app(proxied, app_clock)) as app, browser(app) as behind:
        for forwarded, status in (
            ("203.0.113.9", 200),
            ("::ffff:203.0.113.9", 200),
            ("198.51.100.1, 203.0.113.9", 200),
            ("203.0.113.9, 198.51.100.1", 403),
        ):
            more = {"X-Forwarded-For": forwarded}
            answer = await report(behind, issued.key, key["key_id"], key["secret"], **more)
            assert answer.status_code == status, (forwarded, answer.text)


async def test_an_operator_names_networks_too(
    settings: ApiSettings,
    database_urls: DatabaseUrls,
    valkey: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(database_urls, redis_url=valkey).items():
        monkeypatch.setenv(name, value)
    command = ["create-platform-key", "--name", "panel"]
    assert await asyncio.to_thread(main, [*command, "--network", "203.0.113.7/24"]) == 1
    assert "networks[0] has bits behind its prefix: write 203.0.113.0/24" in capsys.readouterr().err
    assert await asyncio.to_thread(main, [*command, "--network", ELSEWHERE, "--network", "2001:db8::/32"]) == 0
    (row,) = await rows(database_urls, "SELECT networks FROM api_keys")
    assert row["networks"] == [ELSEWHERE, "2001:db8::/32"]
