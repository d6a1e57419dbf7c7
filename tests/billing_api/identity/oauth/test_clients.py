"""OAuth clients: created after a step-up, secret shown once, rotated with overlap, revoked at once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from billing_api.identity.oauth.service import MOST_CLIENTS
from tests.billing_api.conftest import FakeTime
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.members import Member
from tests.support.servers import DatabaseUrls

ORDER = {"name": "Book-keeping", "scopes": ["invoices:read", "licenses:read"]}


async def a_client(owner: Member, **changes: Any) -> dict[str, Any]:
    made = await owner.call("POST", "me/oauth-clients", ORDER | changes)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store"), made.text
    body: dict[str, Any] = made.json()
    return body


async def token_of(who: Member, client: dict[str, Any], secret: str | None = None) -> int:
    form = {"grant_type": "client_credentials", "client_id": client["client_id"]}
    form["client_secret"] = secret or client["client_secret"]
    return (await who.web.post("/api/v1/oauth/token", data=form)).status_code


async def test_a_client_is_made_and_its_secret_shown_once(ada: Member, database_urls: DatabaseUrls) -> None:
    client = await a_client(ada)
    assert client.keys() == {
        "client_id", "name", "scopes", "created_at", "previous_secret_until", "client_secret",
    }  # fmt: skip
    assert client["scopes"] == ["invoices:read", "licenses:read"]
    listed = (await ada.call("GET", "me/oauth-clients")).json()
    assert listed["items"] == [{key: value for key, value in client.items() if key != "client_secret"}]
    (row,) = await rows(database_urls, "SELECT * FROM oauth_clients")
    assert client["client_secret"] not in str(row)
    assert len(row["secret_hash"]) == 32
    (audit,) = await rows(database_urls, "SELECT * FROM audit_log WHERE action = 'oauth_client.created'")
    assert audit["target_id"] == client["client_id"]
    assert audit["actor_id"] == row["user_id"]


async def test_none_is_made_past_the_end_of_its_makers_session(ada: Member, database_urls: DatabaseUrls) -> None:
    """Access revocation ends all clients. A call that waits for the lock meanwhile must not create one afterwards."""
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
        making = asyncio.create_task(ada.call("POST", "me/oauth-clients", ORDER))
        await until_blocked(database_urls)
        await owner.execute(text("UPDATE sessions SET revoked_at = now()"))
    assert (await making).status_code == 401
    assert await rows(database_urls, "SELECT 1 FROM oauth_clients") == []


async def test_the_owner_is_told_by_mail_of_each_secret(ada: Member, database_urls: DatabaseUrls) -> None:
    client = await a_client(ada, name="Call +1 555 0100 at once")
    assert (await ada.call("POST", f"me/oauth-clients/{client['client_id']}/rotate")).status_code == 200
    told = await rows(
        database_urls,
        "SELECT template, parameters - 'full_name' AS said FROM mails WHERE recipient = :email ORDER BY created_at, id",
        email=ada.email,
    )
    said = {"client_id": client["client_id"], "scopes": "invoices:read, licenses:read"}
    assert [(mail["template"], mail["said"]) for mail in told] == [
        ("oauth_client_made", said | {"how": "made"}),
        ("oauth_client_made", said | {"how": "rotated"}),
    ]


async def test_each_customer_has_his_own(ada: Member, bob: Member) -> None:
    client = await a_client(ada)
    path = f"me/oauth-clients/{client['client_id']}"
    assert (await bob.call("GET", "me/oauth-clients")).json()["items"] == []
    for method, where in (("POST", f"{path}/rotate"), ("DELETE", path)):
        answer = await bob.call(method, where)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert await token_of(ada, client) == 200


async def test_rotated_both_secrets_count_for_the_overlap(ada: Member, clock: FakeTime) -> None:
    client = await a_client(ada)
    rotated = await ada.call("POST", f"me/oauth-clients/{client['client_id']}/rotate?overlap_hours=1")
    assert (rotated.status_code, rotated.headers["cache-control"]) == (200, "no-store")
    fresh = rotated.json()["client_secret"]
    assert fresh != client["client_secret"]
    assert [await token_of(ada, client), await token_of(ada, client, fresh)] == [200, 200]
    clock.now += timedelta(hours=1)
    assert [await token_of(ada, client), await token_of(ada, client, fresh)] == [401, 200]


async def test_rotated_twice_the_first_secret_is_over(ada: Member) -> None:
    client = await a_client(ada)
    path = f"me/oauth-clients/{client['client_id']}/rotate"
    second = (await ada.call("POST", path)).json()["client_secret"]
    third = (await ada.call("POST", path)).json()["client_secret"]
    assert [await token_of(ada, client, secret) for secret in (client["client_secret"], second, third)] == [
        401,
        200,
        200,
    ]


async def test_rotated_without_overlap_the_old_secret_is_over_at_once(ada: Member) -> None:
    client = await a_client(ada)
    await ada.call("POST", f"me/oauth-clients/{client['client_id']}/rotate?overlap_hours=0")
    assert await token_of(ada, client) == 401


async def test_revoked_it_gets_no_token_and_is_listed_no_more(ada: Member) -> None:
    client, other = await a_client(ada), await a_client(ada, name="Other")
    path = f"me/oauth-clients/{client['client_id']}"
    assert (await ada.call("DELETE", path)).status_code == 204
    assert await token_of(ada, client) == 401
    assert await token_of(ada, other) == 200
    assert [item["name"] for item in (await ada.call("GET", "me/oauth-clients")).json()["items"]] == ["Other"]
    assert (await ada.call("DELETE", path)).status_code == 404
    assert (await ada.call("POST", f"{path}/rotate")).status_code == 404


async def test_there_are_so_many_and_no_more_also_at_once(ada: Member, database_urls: DatabaseUrls) -> None:
    client = await a_client(ada)
    await change(
        database_urls,
        "INSERT INTO oauth_clients (id, user_id, name, scopes, secret_hash)"
        " SELECT gen_random_uuid(), user_id, name, scopes, secret_hash FROM oauth_clients, generate_series(1, :more)",
        more=MOST_CLIENTS - 2,
    )
    answers = await asyncio.gather(*(ada.call("POST", "me/oauth-clients", ORDER) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    await ada.call("DELETE", f"me/oauth-clients/{client['client_id']}")
    assert (await ada.call("POST", "me/oauth-clients", ORDER)).status_code == 201


async def test_sent_twice_under_one_key_it_is_one_client(ada: Member) -> None:
    keyed = ada.bearer | {"Idempotency-Key": "once"}
    first, second = [await ada.web.post("/api/v1/me/oauth-clients", json=ORDER, headers=keyed) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("path", ["me/oauth-clients", "me/oauth-clients/01a2041e-235a-72e4-b316-ce7d5cf5e521/rotate"])
async def test_a_forgotten_browser_makes_no_secrets(ada: Member, clock: FakeTime, path: str) -> None:
    clock.now += timedelta(minutes=6)
    late = await ada.call("POST", path, ORDER)
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


@pytest.mark.parametrize(
    "changes",
    [{"scopes": []}, {"scopes": ["admin:all"]}, {"scopes": "licenses:read"}, {"name": ""}, {"name": "a\nb"}, {"x": 1}],
)
async def test_an_order_that_makes_no_sense_is_refused(ada: Member, changes: dict[str, Any]) -> None:
    refused = await ada.call("POST", "me/oauth-clients", ORDER | changes)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("hours", ["-1", "169", "x"])
async def test_an_overlap_has_bounds(ada: Member, hours: str) -> None:
    client = await a_client(ada)
    answer = await ada.call("POST", f"me/oauth-clients/{client['client_id']}/rotate?overlap_hours={hours}")
    assert answer.status_code == 400


async def test_a_suspended_customer_makes_none(ada: Member, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE users SET is_active = false")
    assert (await ada.call("POST", "me/oauth-clients", ORDER)).status_code == 401
