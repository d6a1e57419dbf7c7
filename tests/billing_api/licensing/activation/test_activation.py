"""Activation: a token turns a license key into one panel's API key, once, and discloses nothing else."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import event, text

from billing_api.licensing.activation.service import MOST_TOKENS
from core.ids import new_id
from core.licensing import key as license_key
from db.models.identity import Role
from db.unit_of_work import Database
from devstack.postgres import Postgres
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/nextpanel/activate"


class Panel(NamedTuple):
    """A license, its owner, and a token for it."""

    owner: Headers
    license_id: UUID
    key: str
    token: str

    def order(self, **changes: Any) -> dict[str, Any]:
        return {"license_key": self.key, "activation_token": self.token, "fingerprint": "machine-1"} | changes


async def a_panel(client: Client, desk: Desk) -> Panel:
    user = await desk.a_user()
    issued = await desk.a_license(user)
    owner = desk.signed_in(user)
    return Panel(owner, issued.license.id, issued.key, await a_token(client, owner, issued.license.id))


async def a_token(client: Client, owner: Headers, license_id: UUID) -> str:
    answer = await client.post(f"/api/v1/licenses/{license_id}/activation-tokens", headers=owner)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["activation_token"])


@pytest.fixture
async def panel(client: Client, desk: Desk) -> Panel:
    return await a_panel(client, desk)


async def test_a_token_turns_a_key_into_an_api_key_that_is_shown_once(
    client: Client, panel: Panel, database_urls: DatabaseUrls, desk: Desk
) -> None:
    answer = await client.post(PATH, json=panel.order())
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    given = answer.json()
    assert given["license_id"] == str(panel.license_id)
    assert given["permissions"] == ["lease", "reserve", "usage", "validate"]
    [row] = await rows(database_urls, "SELECT * FROM api_keys")
    opened = desk.settings.secrets.sealer.open(row["secret"], context=f"api_key:{given['key_id']}")
    assert opened.decode() == given["secret"]
    assert (row["license_id"], str(row["instance_id"])) == (panel.license_id, given["instance_id"])
    [license_] = await rows(database_urls, "SELECT fingerprint, version FROM licenses")
    assert license_ == {"fingerprint": "machine-1", "version": 2}
    shown = await client.get(f"/api/v1/licenses/{panel.license_id}/api-keys", headers=panel.owner)
    assert given["secret"] not in shown.text
    assert shown.json()["items"][0]["instance_id"] == given["instance_id"]


async def test_the_token_is_stored_as_a_hash(panel: Panel, database_urls: DatabaseUrls) -> None:
    [row] = await rows(database_urls, "SELECT * FROM activation_tokens")
    assert panel.token.encode() not in b"".join(value for value in row.values() if isinstance(value, bytes))
    assert len(row["token_hash"]) == 32


@pytest.mark.timeout(600)
async def test_a_thousand_uses_of_one_token_at_once_are_one(
    client: Client, panel: Panel, database_urls: DatabaseUrls
) -> None:
    orders = (panel.order(fingerprint=f"machine-{number}") for number in range(1000))
    answers = await asyncio.gather(*(client.post(PATH, json=order) for order in orders))
    told = Counter(answer.json().get("code") for answer in answers)
    assert told.pop(None) == 1
    # On a busy machine some of the thousand get 503.
    assert set(told) <= {"activation_refused", "unavailable"}
    assert await rows(database_urls, "SELECT count(*) FROM api_keys") == [{"count": 1}]
    [winner] = [answer.json() for answer in answers if answer.status_code == 200]
    assert await rows(database_urls, "SELECT fingerprint FROM licenses") == [{"fingerprint": winner["fingerprint"]}]


async def test_a_mistyped_key_is_told_so_without_a_query(client: Client, panel: Panel, database: Database) -> None:
    statements: list[str] = []
    engine = database.engine.sync_engine
    wrong = panel.key[:-1] + ("0" if panel.key[-1] != "0" else "1")

    def note(*facts: Any) -> None:
        statements.append(facts[2])

    event.listen(engine.__class__, "before_cursor_execute", note)
    try:
        answer = await client.post(PATH, json=panel.order(license_key=wrong))
    finally:
        event.remove(engine.__class__, "before_cursor_execute", note)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["errors"][0]["field"] == "license_key"
    assert statements == []


async def test_whatever_does_not_belong_together_is_answered_alike(client: Client, desk: Desk, panel: Panel) -> None:
    other = await a_panel(client, desk)
    used = await a_token(client, panel.owner, panel.license_id)
    assert (await client.post(PATH, json=panel.order(activation_token=used))).is_success
    unknown = license_key.generate(desk.settings.secrets.license_checksum_key)
    answers = [
        await client.post(PATH, json=panel.order(**changes))
        for changes in (
            {"license_key": unknown},
            {"activation_token": "npt_" + "x" * 43},
            {"activation_token": used},
            {"license_key": other.key},
            {"activation_token": other.token},
        )
    ]
    told = [answer.json() | {"request_id": "any"} for answer in answers]
    assert {answer.status_code for answer in answers} == {403}
    assert told == [told[0]] * len(told)
    assert (await client.post(PATH, json=other.order())).is_success, "what was refused has used up no token"


async def test_a_token_lives_for_a_day(client: Client, panel: Panel, clock: FakeTime) -> None:
    clock.now += timedelta(hours=24)
    assert (await client.post(PATH, json=panel.order())).status_code == 403


async def test_one_token_more_than_may_live_ends_the_oldest(
    client: Client, panel: Panel, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    tokens = [panel.token]
    for _ in range(MOST_TOKENS):
        clock.now += timedelta(seconds=1)
        tokens.append(await a_token(client, panel.owner, panel.license_id))
    live = "SELECT count(*) FROM activation_tokens WHERE used_at IS NULL AND expires_at > :now"
    assert await rows(database_urls, live, now=clock.now) == [{"count": MOST_TOKENS}]
    assert (await client.post(PATH, json=panel.order())).status_code == 403
    assert (await client.post(PATH, json=panel.order(activation_token=tokens[1]))).is_success


async def test_tokens_made_at_once_are_bounded_too(
    client: Client, panel: Panel, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    await asyncio.gather(*(a_token(client, panel.owner, panel.license_id) for _ in range(20)))
    live = "SELECT count(*) FROM activation_tokens WHERE used_at IS NULL AND expires_at > :now"
    assert await rows(database_urls, live, now=clock.now) == [{"count": MOST_TOKENS}]


async def test_a_repetition_with_its_key_gets_the_answer_again(
    client: Client, panel: Panel, database_urls: DatabaseUrls
) -> None:
    headers = {"Idempotency-Key": "try-1"}
    first = await client.post(PATH, json=panel.order(), headers=headers)
    again = await client.post(PATH, json=panel.order(), headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post(PATH, json=panel.order(fingerprint="machine-2"), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    without = await client.post(PATH, json=panel.order())
    assert without.status_code == 403
    [row] = await rows(database_urls, "SELECT answer FROM idempotency_keys WHERE scope LIKE 'activation %'")
    assert first.json()["secret"].encode() not in row["answer"]


async def test_killed_before_the_commit_nothing_has_happened(
    client: Client, panel: Panel, database_urls: DatabaseUrls, postgres: Postgres
) -> None:
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT FROM licenses FOR UPDATE"))
        call = asyncio.create_task(client.post(PATH, json=panel.order()))
        await until_blocked(database_urls)
        waiting = "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)"
        blocked = f"{waiting} WHERE NOT granted AND datname = current_database()"
        for pid in (await owner.execute(text(blocked))).scalars():
            postgres.run_sql("SELECT pg_terminate_backend(:'pid')", pid=str(pid))
        answer = await call
    assert (answer.status_code, answer.json()["conclusive"]) == (503, False)
    assert await rows(database_urls, "SELECT count(*) FROM api_keys") == [{"count": 0}]
    assert (await client.post(PATH, json=panel.order())).is_success, "the token was not spent"


async def test_a_bound_license_is_activated_by_its_panel_only(client: Client, panel: Panel) -> None:
    assert (await client.post(PATH, json=panel.order())).is_success
    token = await a_token(client, panel.owner, panel.license_id)
    stranger = await client.post(PATH, json=panel.order(activation_token=token, fingerprint="machine-2"))
    assert (stranger.status_code, stranger.json()["code"]) == (409, "fingerprint_mismatch")
    assert "owner must reset it" in stranger.json()["detail"]
    silent = await client.post(PATH, json=panel.order(activation_token=token, fingerprint=None))
    assert (silent.status_code, silent.json()["code"]) == (422, "fingerprint_required")
    assert silent.json()["errors"][0]["field"] == "fingerprint"
    for refused in (stranger, silent):
        assert "machine-1" not in refused.text, "the bound fingerprint is not disclosed"
    assert (await client.post(PATH, json=panel.order(activation_token=token))).is_success, "the token was not spent"


async def test_a_bound_license_that_was_reset_takes_the_same_token_of_another_panel(
    client: Client, panel: Panel, database_urls: DatabaseUrls
) -> None:
    assert (await client.post(PATH, json=panel.order())).is_success
    order = panel.order(activation_token=await a_token(client, panel.owner, panel.license_id), fingerprint="machine-2")
    assert (await client.post(PATH, json=order)).status_code == 409
    assert (await reset(client, panel))[0] == 200
    assert (await client.post(PATH, json=order)).json()["fingerprint"] == "machine-2"
    assert await rows(database_urls, "SELECT fingerprint FROM licenses") == [{"fingerprint": "machine-2"}]


async def test_an_unbound_license_takes_a_second_panel_and_a_third_that_binds_it(client: Client, panel: Panel) -> None:
    assert (await client.post(PATH, json=panel.order(fingerprint=None))).is_success
    second, third = [await a_token(client, panel.owner, panel.license_id) for _ in range(2)]
    answer = await client.post(PATH, json=panel.order(activation_token=second, fingerprint=None))
    assert (answer.status_code, answer.json()["fingerprint"]) == (200, None)
    answer = await client.post(PATH, json=panel.order(activation_token=third, fingerprint="machine-3"))
    assert (answer.status_code, answer.json()["fingerprint"]) == (200, "machine-3")


@pytest.mark.parametrize("fingerprint", [" ", "\u202eabc", "a\nb", "\u200b"])
async def test_a_license_is_bound_to_nothing_that_reads_as_something_else(
    client: Client, panel: Panel, database_urls: DatabaseUrls, fingerprint: str
) -> None:
    answer = await client.post(PATH, json=panel.order(fingerprint=fingerprint))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "fingerprint")
    assert await rows(database_urls, "SELECT fingerprint FROM licenses") == [{"fingerprint": None}]


async def test_a_license_that_needs_fingerprints_gives_no_key_without_one(
    client: Client, panel: Panel, database_urls: DatabaseUrls
) -> None:
    """Also while it is not bound: every validation of that panel would be refused."""
    await change(database_urls, "UPDATE licenses SET fingerprint_policy = 'required'")
    answer = await client.post(PATH, json=panel.order(fingerprint=None))
    assert (answer.status_code, answer.json()["code"]) == (422, "fingerprint_required")
    assert await rows(database_urls, "SELECT count(*) FROM api_keys") == [{"count": 0}]
    assert (await client.post(PATH, json=panel.order())).is_success


async def test_a_panel_without_a_fingerprint_binds_nothing(
    client: Client, panel: Panel, database_urls: DatabaseUrls
) -> None:
    answer = await client.post(PATH, json=panel.order(fingerprint=None))
    assert answer.is_success
    assert await rows(database_urls, "SELECT fingerprint FROM licenses") == [{"fingerprint": None}]
    assert answer.json()["instance_id"]


@pytest.mark.parametrize("status", ["suspended", "cancelled", "expired"])
async def test_a_license_that_does_not_stand_keeps_its_token(
    client: Client, panel: Panel, database_urls: DatabaseUrls, status: str
) -> None:
    stand = "UPDATE licenses SET status = CAST(:status AS license_status)"
    await change(database_urls, stand, status=status)
    refused = await client.post(PATH, json=panel.order())
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert status in refused.json()["detail"]
    await change(database_urls, stand, status="active")
    assert (await client.post(PATH, json=panel.order())).is_success


async def test_another_customers_license_gets_no_token(client: Client, desk: Desk, panel: Panel) -> None:
    stranger = await desk.a_customer()
    for path in ("activation-tokens", "reset-fingerprint"):
        answer = await client.post(f"/api/v1/licenses/{panel.license_id}/{path}", headers=stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "wrong",
    [{"fingerprint": ""}, {"fingerprint": "x" * 257}, {"fingerprint": "\0"}, {"activation_token": ""}, {"more": 1}],
)
async def test_what_does_not_fit_is_refused_with_its_reason(
    client: Client, panel: Panel, wrong: dict[str, Any]
) -> None:
    answer = await client.post(PATH, json=panel.order(**wrong))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def reset(client: Client, panel: Panel) -> tuple[int, dict[str, Any]]:
    answer = await client.post(f"/api/v1/licenses/{panel.license_id}/reset-fingerprint", headers=panel.owner)
    return answer.status_code, answer.json()


async def bind(urls: DatabaseUrls) -> None:
    await change(urls, "UPDATE licenses SET fingerprint = :machine", machine=new_id().hex)


async def test_an_owner_frees_a_license_three_times_a_month(
    client: Client, desk: Desk, panel: Panel, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    for _ in range(3):
        await bind(database_urls)
        status, shown = await reset(client, panel)
        assert (status, shown["fingerprint"]) == (200, None)
        assert (await reset(client, panel))[0] == 200, "a reset of a free license does not count"
    await bind(database_urls)
    answer = await client.post(f"/api/v1/licenses/{panel.license_id}/reset-fingerprint", headers=panel.owner)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 29 * 86400 < int(answer.headers["retry-after"]) <= 30 * 86400 + 120
    admin = await desk.staff()
    freed = await client.post(
        f"/api/v1/admin/licenses/{panel.license_id}/reset-fingerprint", headers=admin, json={"reason": "new machine"}
    )
    assert (freed.status_code, freed.json()["fingerprint"]) == (200, None)
    await bind(database_urls)
    clock.now += timedelta(days=30, seconds=5)
    [owner] = await rows(database_urls, "SELECT user_id FROM licenses")
    later = panel._replace(owner=desk.signed_in(owner["user_id"]))
    assert (await reset(client, later))[0] == 200


async def test_resets_at_once_are_counted_one_by_one(client: Client, panel: Panel, database_urls: DatabaseUrls) -> None:
    await bind(database_urls)
    answers = await asyncio.gather(*(reset(client, panel) for _ in range(10)))
    assert {status for status, _ in answers} == {200}
    trail = await rows(database_urls, "SELECT count(*) FROM audit_log WHERE action = 'license.fingerprint_reset'")
    assert trail == [{"count": 1}]


async def test_support_frees_nothing(client: Client, desk: Desk, panel: Panel) -> None:
    path = f"/api/v1/admin/licenses/{panel.license_id}/reset-fingerprint"
    support = await desk.staff(Role.SUPPORT)
    assert (await client.post(path, headers=support, json={"reason": "x"})).status_code == 403
    missing = f"/api/v1/admin/licenses/{new_id()}/reset-fingerprint"
    answer = await client.post(missing, headers=await desk.staff(), json={"reason": "x"})
    assert answer.status_code == 404


async def test_all_of_it_is_in_the_trail(client: Client, panel: Panel, database_urls: DatabaseUrls) -> None:
    given = (await client.post(PATH, json=panel.order())).json()
    await reset(client, panel)
    trail = await rows(database_urls, "SELECT action, detail::text, request_id FROM audit_log ORDER BY id")
    assert [row["action"] for row in trail] == [
        "license.activation_token_created",
        "license.activated",
        "license.fingerprint_reset",
    ]
    assert all(row["request_id"] for row in trail)
    assert given["key_id"] in trail[1]["detail"]
    for secret in (given["secret"], panel.token, panel.key):
        assert secret not in str(trail)
