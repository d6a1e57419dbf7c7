"""API keys of an owner: created, rotated with an overlap, revoked at once."""

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from billing_api.licensing.api_keys.issuing import MOST_LIVE
from billing_api.server.wiring.services import Services
from tests.billing_api.conftest import Client, FakeTime
from tests.billing_api.licensing.api_keys.reporting import forget, reported
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

ALL = ["lease", "reserve", "usage", "validate"]


class Owner(NamedTuple):
    headers: Headers
    license_id: UUID
    license_key: str

    @property
    def path(self) -> str:
        return f"/api/v1/licenses/{self.license_id}/api-keys"


@pytest.fixture
async def owner(desk: Desk, client: Client) -> Owner:
    user = await desk.a_user()
    issued = await desk.a_license(user)
    return Owner(desk.signed_in(user), issued.license.id, issued.key)


async def made(client: Client, owner: Owner, **changes: Any) -> dict[str, Any]:
    answer = await client.post(owner.path, headers=owner.headers, json={"name": "panel", "permissions": ALL} | changes)
    assert answer.status_code == 201, answer.text
    given = answer.json()
    return {**given["api_key"], "secret": given["secret"]}


async def report(client: Client, owner: Owner, key: dict[str, Any], secret: str | None = None) -> int:
    return await reported(client, owner.license_key, key["key_id"], secret or key["secret"])


async def test_the_owner_is_told_by_mail_of_each_secret(
    client: Client, owner: Owner, database_urls: DatabaseUrls
) -> None:
    key = await made(client, owner, name="Call +1 555 0100 at once")
    assert (await client.post(f"/api/v1/api-keys/{key['id']}/rotate", headers=owner.headers)).status_code == 200
    told = await rows(database_urls, "SELECT template, parameters FROM mails ORDER BY created_at, id")
    said = {"full_name": "Ada Buyer", "key_id": key["key_id"], "license_id": str(owner.license_id)}
    assert [(mail["template"], mail["parameters"]) for mail in told] == [
        ("api_key_made", said | {"how": "made"}),
        ("api_key_made", said | {"how": "rotated"}),
    ]


async def test_a_new_key_signs_and_its_secret_is_shown_once(client: Client, owner: Owner) -> None:
    key = await made(client, owner, name="the first")
    assert await report(client, owner, key) == 200
    listed = await client.get(owner.path, headers=owner.headers)
    assert key["secret"] not in listed.text
    [shown] = listed.json()["items"]
    assert (shown["name"], shown["permissions"], shown["is_active"]) == ("the first", ALL, True)
    assert shown["instance_id"] is None


async def test_a_key_may_do_what_it_was_made_for(client: Client, owner: Owner) -> None:
    key = await made(client, owner, permissions=["validate", "validate"])
    assert key["permissions"] == ["validate"]
    assert await report(client, owner, key) == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "\0"},
        {"permissions": []},
        {"permissions": ["fly"]},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"color": "red"},
    ],
)
async def test_what_does_not_fit_is_refused(client: Client, owner: Owner, wrong: dict[str, Any]) -> None:
    order = {"name": "panel", "permissions": ALL} | wrong
    answer = await client.post(owner.path, headers=owner.headers, json=order)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def test_a_key_ends_at_its_instant(client: Client, owner: Owner, clock: FakeTime) -> None:
    key = await made(client, owner, expires_at=(clock.now + timedelta(minutes=2)).isoformat())
    assert await report(client, owner, key) == 200
    clock.now += timedelta(minutes=2)
    assert await report(client, owner, key) == 401


async def test_making_and_rotating_need_a_fresh_login_and_revoking_does_not(
    client: Client, owner: Owner, clock: FakeTime
) -> None:
    key = await made(client, owner)
    clock.now += timedelta(minutes=5, seconds=1)
    order = {"name": "panel", "permissions": ALL}
    for path, body in ((owner.path, order), (f"/api/v1/api-keys/{key['id']}/rotate", {})):
        refused = await client.post(path, headers=owner.headers, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    assert (await client.delete(f"/api/v1/api-keys/{key['id']}", headers=owner.headers)).status_code == 204


async def test_there_are_so_many_live_keys_and_no_more_also_at_once(
    client: Client, owner: Owner, database_urls: DatabaseUrls
) -> None:
    order = {"name": "panel", "permissions": ALL}
    calls = (client.post(owner.path, headers=owner.headers, json=order) for _ in range(MOST_LIVE + 5))
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
    assert statuses == [201] * MOST_LIVE + [409] * 5
    [first, *_] = (await client.get(owner.path, headers=owner.headers)).json()["items"]
    assert (await client.delete(f"/api/v1/api-keys/{first['id']}", headers=owner.headers)).status_code == 204
    await made(client, owner)


async def test_the_same_order_sent_twice_makes_one_key(client: Client, owner: Owner) -> None:
    order, once = {"name": "panel", "permissions": ALL}, owner.headers | {"Idempotency-Key": "k-1"}
    first, second = [await client.post(owner.path, headers=once, json=order) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (await client.get(owner.path, headers=owner.headers)).json()["total"] == 1


async def rotate(client: Client, owner: Owner, key: dict[str, Any], **body: Any) -> str:
    answer = await client.post(f"/api/v1/api-keys/{key['id']}/rotate", headers=owner.headers, json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["secret"])


async def test_both_secrets_work_for_the_overlap_and_then_the_new_one(
    client: Client, owner: Owner, clock: FakeTime, services: Services, desk: Desk, database_urls: DatabaseUrls
) -> None:
    key = await made(client, owner)
    new = await rotate(client, owner, key, overlap_seconds=60)
    forget(services)
    assert await report(client, owner, key, new) == 200
    assert await report(client, owner, key) == 200
    clock.now += timedelta(seconds=60)
    assert await report(client, owner, key) == 401
    assert await report(client, owner, key, new) == 200


async def test_an_overlap_is_a_day_unless_it_is_said(client: Client, owner: Owner, clock: FakeTime) -> None:
    key = await made(client, owner)
    path = f"/api/v1/api-keys/{key['id']}/rotate"
    bare = await client.post(path, headers=owner.headers)
    assert bare.status_code == 200, bare.text
    until = bare.json()["api_key"]["previous_until"]
    assert until == (clock.now + timedelta(days=1)).isoformat().replace("+00:00", "Z")
    for wrong in (-1, 7 * 86400 + 1, "1", 1.5):
        answer = await client.post(path, headers=owner.headers, json={"overlap_seconds": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input"), wrong


async def test_without_an_overlap_the_old_secret_ends_at_once(client: Client, owner: Owner, services: Services) -> None:
    key = await made(client, owner)
    new = await rotate(client, owner, key, overlap_seconds=0)
    forget(services)
    assert await report(client, owner, key) == 401
    assert await report(client, owner, key, new) == 200


async def test_two_secrets_are_valid_and_never_three(client: Client, owner: Owner, services: Services) -> None:
    key = await made(client, owner)
    second = await rotate(client, owner, key)
    third = await rotate(client, owner, key)
    forget(services)
    assert [await report(client, owner, key, secret) for secret in (key["secret"], second, third)] == [401, 200, 200]


async def test_a_revoked_key_is_refused_for_good(client: Client, owner: Owner, services: Services) -> None:
    key = await made(client, owner)
    assert await report(client, owner, key) == 200
    for _ in range(2):
        assert (await client.delete(f"/api/v1/api-keys/{key['id']}", headers=owner.headers)).status_code == 204
    forget(services)
    assert await report(client, owner, key) == 401
    again = await client.post(f"/api/v1/api-keys/{key['id']}/rotate", headers=owner.headers, json={})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    [shown] = (await client.get(owner.path, headers=owner.headers)).json()["items"]
    assert shown["is_active"] is False


async def test_a_cached_key_is_refused_a_fifth_of_a_second_after_its_revocation(client: Client, owner: Owner) -> None:
    key = await made(client, owner)
    assert await report(client, owner, key) == 200
    assert (await client.delete(f"/api/v1/api-keys/{key['id']}", headers=owner.headers)).status_code == 204
    async with asyncio.timeout(10):
        while await report(client, owner, key) != 401:  # noqa: ASYNC110  the cache entry has to expire
            await asyncio.sleep(0.01)


async def test_a_key_of_anothers_license_does_not_exist(client: Client, desk: Desk, owner: Owner) -> None:
    key = await made(client, owner)
    stranger = await desk.a_customer()
    path = f"/api/v1/api-keys/{key['id']}"
    order = {"name": "panel", "permissions": ALL}
    answers = (
        await client.get(owner.path, headers=stranger),
        await client.post(owner.path, headers=stranger, json=order),
        await client.post(f"{path}/rotate", headers=stranger, json={}),
        await client.delete(path, headers=stranger),
    )
    assert [answer.status_code for answer in answers] == [404] * 4


async def test_a_platforms_key_is_nobodys(
    client: Client, owner: Owner, desk: Desk, database_urls: DatabaseUrls
) -> None:
    key = await made(client, owner)
    await change(database_urls, "UPDATE api_keys SET user_id = NULL, license_id = NULL")
    assert (await client.delete(f"/api/v1/api-keys/{key['id']}", headers=owner.headers)).status_code == 404


async def test_the_last_use_is_written_once_a_minute(
    client: Client, owner: Owner, services: Services, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    key = await made(client, owner)
    [before] = await rows(database_urls, "SELECT last_used_at, version FROM api_keys")
    assert before["last_used_at"] is None
    first = clock.now
    for seconds in (0, 30, 31):
        clock.now += timedelta(seconds=seconds)
        forget(services)
        assert await report(client, owner, key) == 200
        await services.licensing.signature_checker.last_use.written()
        [row] = await rows(database_urls, "SELECT last_used_at, last_used_address, version FROM api_keys")
        assert row["last_used_address"] == "127.0.0.1"
        assert row["last_used_at"] == (first if seconds < 31 else clock.now)
        assert row["version"] == before["version"], "no change that validators must hear of"


async def test_a_refused_signature_is_no_use(
    client: Client, owner: Owner, services: Services, database_urls: DatabaseUrls
) -> None:
    key = await made(client, owner)
    assert await report(client, owner, key, "nps_wrong") == 401
    await services.licensing.signature_checker.last_use.written()
    assert await rows(database_urls, "SELECT last_used_at FROM api_keys") == [{"last_used_at": None}]


async def test_the_trail_names_keys_and_no_secrets(client: Client, owner: Owner, database_urls: DatabaseUrls) -> None:
    key = await made(client, owner)
    second = await rotate(client, owner, key, overlap_seconds=0)
    await client.delete(f"/api/v1/api-keys/{key['id']}", headers=owner.headers)
    trail = await rows(database_urls, "SELECT action, target_id, detail::text FROM audit_log ORDER BY id")
    assert [row["action"].rpartition(".")[2] for row in trail] == [
        "api_key_created",
        "api_key_rotated",
        "api_key_revoked",
    ]
    assert all(key["key_id"] in row["detail"] and row["target_id"] == str(owner.license_id) for row in trail)
    assert not any(secret in str(trail) for secret in (key["secret"], second))
