"""Service accounts: made by administrators and operators, with a secret that is shown once, rotated and revoked."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from billing_api.__main__ import main
from db.models.all_tables import METADATA
from db.models.identity import Role
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.environment import environment
from tests.support.people import Desk, Headers
from tests.support.programs import ACCOUNTS, TOKEN, a_service_account, credentials, token_for
from tests.support.servers import DatabaseUrls

ORDER = {"name": "export", "scopes": ["licenses:read"]}


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def status_of(client: Client, account: dict[str, Any], secret: str | None = None) -> int:
    form = credentials(account) | ({"client_secret": secret} if secret else {})
    return (await client.post(TOKEN, data=form)).status_code


async def rotated(client: Client, admin: Headers, account: dict[str, Any], **order: int) -> str:
    answer = await client.post(f"{ACCOUNTS}/{account['id']}/rotate", headers=admin, json=order or None)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    return str(answer.json()["client_secret"])


async def test_one_is_made_and_its_secret_shown_once(
    client: Client, admin: Headers, desk: Desk, database_urls: DatabaseUrls
) -> None:
    account = await a_service_account(client, admin, "customers:read", "licenses:read", "licenses:read")
    secret = account.pop("client_secret")
    assert account["scopes"] == ["licenses:read", "customers:read"]
    assert (account["is_active"], account["last_used_at"], account["networks"]) == (True, None, [])
    assert account["client_id"] == f"npsa_{account['id'].replace('-', '')}"
    assert (await client.get(ACCOUNTS, headers=admin)).json()["items"] == [account]
    (row,) = await rows(database_urls, "SELECT * FROM service_accounts")
    assert len(row["secret_hash"]) == 32
    (audit,) = await rows(database_urls, "SELECT * FROM audit_log WHERE action = 'service_account.created'")
    assert (audit["target_id"], audit["actor_id"]) == (account["id"], desk.user_of(admin))
    assert audit["detail"] == {"name": "export", "scopes": ["customers:read", "licenses:read"], "networks": []}
    assert secret.startswith("npss_")


async def test_neither_secret_nor_token_lies_in_a_store(
    client: Client, admin: Headers, desk: Desk, valkey: str, database_urls: DatabaseUrls
) -> None:
    once = admin | {"Idempotency-Key": "the-one"}
    account = await a_service_account(client, once, "customers:read")
    headers = await token_for(client, account)
    assert (await client.get("/api/v1/admin/users", headers=headers)).status_code == 200
    secrets = [account["client_secret"], await rotated(client, admin, account), headers["Authorization"].split()[1]]
    dump = [str(await rows(database_urls, f"SELECT {name}::text FROM {name}")) for name in METADATA.tables]
    async with Redis.from_url(valkey) as redis:
        for key in await redis.keys():
            dump += [str(key), str(await redis.dump(key))]
    for secret in secrets:
        assert [place for place in dump if secret in place] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes": []},
        {"scopes": ["users:write"]},
        {"scopes": ["invoices:read"]},
        {"scopes": "licenses:read"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"networks": ["203.0.113.7/24"]},
        {"role": "admin"},
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(client: Client, admin: Headers, changes: dict[str, Any]) -> None:
    refused = await client.post(ACCOUNTS, headers=admin, json=ORDER | changes)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


async def test_of_one_name_there_is_one_that_lives_also_at_once(client: Client, admin: Headers) -> None:
    answers = await asyncio.gather(*(client.post(ACCOUNTS, headers=admin, json=ORDER) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    (live,) = (await client.get(ACCOUNTS, headers=admin)).json()["items"]
    assert (await client.delete(f"{ACCOUNTS}/{live['id']}", headers=admin)).status_code == 204
    assert (await client.post(ACCOUNTS, headers=admin, json=ORDER)).status_code == 201


async def test_a_lost_answer_costs_no_account(client: Client, admin: Headers) -> None:
    """Killed between COMMIT and answer: the same request again gets the secret, or the account is revoked."""
    once = admin | {"Idempotency-Key": "the-first"}
    first, second = [await client.post(ACCOUNTS, headers=once, json=ORDER) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    (unused,) = (await client.get(ACCOUNTS, headers=admin)).json()["items"]
    assert unused["last_used_at"] is None
    await client.delete(f"{ACCOUNTS}/{unused['id']}", headers=admin)
    another = await a_service_account(client, admin)
    assert [await status_of(client, {**unused, "client_secret": first.json()["client_secret"]})] == [401]
    assert await status_of(client, another) == 200


async def test_none_is_made_past_the_end_of_its_makers_rights(
    client: Client, admin: Headers, database_urls: DatabaseUrls
) -> None:
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
        making = asyncio.create_task(client.post(ACCOUNTS, headers=admin, json=ORDER))
        await until_blocked(database_urls)
        await owner.execute(text("UPDATE users SET role = 'support'"))
    assert (await making).status_code == 401
    assert await rows(database_urls, "SELECT 1 FROM service_accounts") == []


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("POST", "/rotate"), ("PATCH", "/")])
async def test_a_forgotten_browser_makes_and_changes_none(
    client: Client, admin: Headers, clock: FakeTime, method: str, path: str
) -> None:
    account = await a_service_account(client, admin)
    clock.now += timedelta(minutes=6)
    place = f"{ACCOUNTS}/{account['id']}{path}" if path else ACCOUNTS
    late = await client.request(method, place.rstrip("/"), headers=admin, json=ORDER if not path else {})
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


async def test_support_sees_and_makes_none(client: Client, desk: Desk) -> None:
    support = await desk.staff(Role.SUPPORT)
    for answer in (
        await client.get(ACCOUNTS, headers=support),
        await client.post(ACCOUNTS, headers=support, json=ORDER),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_rotated_both_secrets_count_for_the_overlap(client: Client, admin: Headers, clock: FakeTime) -> None:
    account = await a_service_account(client, admin)
    fresh = await rotated(client, admin, account, overlap_seconds=60)
    assert [await status_of(client, account), await status_of(client, account, fresh)] == [200, 200]
    clock.now += timedelta(seconds=60)
    assert [await status_of(client, account), await status_of(client, account, fresh)] == [401, 200]
    newest = await rotated(client, admin, account, overlap_seconds=0)
    assert [await status_of(client, account, fresh), await status_of(client, account, newest)] == [401, 200]


async def test_rotated_twice_the_first_secret_is_over(client: Client, admin: Headers) -> None:
    account = await a_service_account(client, admin)
    second, third = await rotated(client, admin, account), await rotated(client, admin, account)
    assert [await status_of(client, account, secret) for secret in (None, second, third)] == [401, 200, 200]


@pytest.mark.parametrize("seconds", [-1, 7 * 86_400 + 1, "x"])
async def test_an_overlap_has_bounds(client: Client, admin: Headers, seconds: Any) -> None:
    account = await a_service_account(client, admin)
    path = f"{ACCOUNTS}/{account['id']}/rotate"
    assert (await client.post(path, headers=admin, json={"overlap_seconds": seconds})).status_code == 400


async def test_revoked_it_is_listed_and_nothing_else(
    client: Client, admin: Headers, database_urls: DatabaseUrls
) -> None:
    account = await a_service_account(client, admin)
    path = f"{ACCOUNTS}/{account['id']}"
    for _ in range(2):
        assert (await client.delete(path, headers=admin)).status_code == 204
    assert await status_of(client, account) == 401
    assert (await client.post(f"{path}/rotate", headers=admin)).status_code == 409
    assert (await client.patch(path, headers=admin, json={"networks": []})).status_code == 409
    (listed,) = (await client.get(ACCOUNTS, headers=admin)).json()["items"]
    assert not listed["is_active"]
    told = await rows(database_urls, "SELECT action FROM audit_log WHERE target_kind = 'service_account' ORDER BY id")
    assert [row["action"] for row in told] == ["service_account.created", "service_account.revoked"]


async def test_a_change_keeps_what_it_does_not_name_and_is_audited_once(
    client: Client, admin: Headers, database_urls: DatabaseUrls
) -> None:
    account = await a_service_account(client, admin, networks=["203.0.113.0/24"])
    path = f"{ACCOUNTS}/{account['id']}"
    for _ in range(2):
        changed = (await client.patch(path, headers=admin, json={"scopes": ["audit:read", "audit:read"]})).json()
        assert (changed["scopes"], changed["networks"]) == (["audit:read"], ["203.0.113.0/24"])
    (told,) = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'service_account.changed'")
    assert (told["detail"]["before"], told["detail"]["after"]) == (
        {"scopes": ["licenses:read"]},
        {"scopes": ["audit:read"]},
    )
    refused = await client.patch(path, headers=admin, json={"name": "other"})
    assert refused.status_code == 400, "the audit trail calls it by its name"


async def test_what_does_not_exist_is_not_found(client: Client, admin: Headers) -> None:
    path = f"{ACCOUNTS}/01a2041e-235a-72e4-b316-ce7d5cf5e521"
    answers = [
        await client.patch(path, headers=admin, json={}),
        await client.post(f"{path}/rotate", headers=admin),
        await client.delete(path, headers=admin),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}


async def test_the_last_use_is_known_to_the_minute_with_its_address(
    client: Client, admin: Headers, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    account = await a_service_account(client, admin)

    async def seen() -> tuple[str, str]:
        (listed,) = (await client.get(ACCOUNTS, headers=admin)).json()["items"]
        return listed["last_used_at"], listed["last_used_address"]

    headers = await token_for(client, account)
    first = await seen()
    assert first[1] == "127.0.0.1"
    clock.now += timedelta(seconds=59)
    await client.get("/api/v1/admin/licenses", headers=headers)
    assert await seen() == first
    clock.now += timedelta(seconds=1)
    async with as_owner(database_urls) as owner:  # a lock delays no call
        await owner.execute(text("SELECT 1 FROM service_accounts FOR UPDATE"))
        assert (await client.get("/api/v1/admin/licenses", headers=headers)).status_code == 200
    assert await seen() == first
    await client.get("/api/v1/admin/licenses", headers=headers)
    assert await seen() > first


async def test_an_operator_makes_one(
    client: Client,
    database_urls: DatabaseUrls,
    valkey: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment(database_urls, redis_url=valkey).items():
        monkeypatch.setenv(name, value)
    command = ["create-service-account", "--name", "export", "--scope", "licenses:read", "--network"]
    assert await asyncio.to_thread(main, [*command, "nowhere"]) == 1
    assert "networks[0] is no network" in capsys.readouterr().err
    assert await asyncio.to_thread(main, [*command, "127.0.0.0/8"]) == 0
    shown = capsys.readouterr()
    assert "not shown again" in shown.err
    told = dict(line.split(": ") for line in shown.out.splitlines())
    account = {"client_id": told["client id"], "client_secret": told["secret"]}
    headers = await token_for(client, account)
    assert (await client.get("/api/v1/admin/licenses", headers=headers)).status_code == 200
    (audit,) = await rows(database_urls, "SELECT actor_id, detail FROM audit_log WHERE action LIKE 'service_account.%'")
    assert (audit["actor_id"], audit["detail"]["by"]) == (None, "command line")
    assert await asyncio.to_thread(main, [*command, "127.0.0.0/8"]) == 1
    assert "has this name" in capsys.readouterr().err


async def test_the_database_shows_hashes_to_the_application_alone(
    client: Client, admin: Headers, desk: Desk, database_urls: DatabaseUrls
) -> None:
    await a_service_account(client, admin)
    for kind in (desk.database.as_staff, desk.database.as_customer):
        async with kind(desk.user_of(admin)) as tx:
            for columns in ("*", "secret_hash") if kind == desk.database.as_staff else ("id",):
                with pytest.raises(Exception, match="permission denied"):
                    async with tx.session.begin_nested():
                        await tx.session.execute(text(f"SELECT {columns} FROM service_accounts"))
    with pytest.raises(Exception, match="uq_service_accounts_live_name"):
        await change(
            database_urls,
            "INSERT INTO service_accounts (id, name, scopes, secret_hash)"
            " SELECT gen_random_uuid(), name, scopes, secret_hash FROM service_accounts",
        )
