"""Export: everything that is held about a user, for that user and nobody else."""

import json
from datetime import timedelta
from typing import Any

import pytest

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.privacy.inventory import HOLDINGS
from billing_api.privacy.service import DataExport
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.billing_api.privacy.conftest import fill
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/me/export"


async def exported(client: Client, headers: Headers, page: int = 0) -> dict[str, Any]:
    answer = await client.get(PATH, params={"page": page}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_it_has_a_row_of_every_table_and_is_a_file_that_nobody_keeps(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user(full_name="Ada Lovelace", company_name="Engines Ltd")
    made = await fill(database_urls, user_id)
    answer = await client.get(PATH, headers=desk.signed_in(user_id))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-disposition"] == 'attachment; filename="nextpanel-billing-data-0.json"'
    tables = answer.json()["tables"]
    shown = {holding.table: set(holding.shown.split()) for holding in HOLDINGS if holding.shown}
    assert set(tables) == shown.keys() | {"license_events", "audit_log"}
    for table, columns in shown.items():
        assert tables[table], table
        assert set(tables[table][0]) == columns, table
    assert tables["users"][0]["full_name"] == "Ada Lovelace"
    assert tables["licenses"][0]["id"] == str(made["licenses"]["id"])
    assert (answer.json()["page"], answer.json()["next_page"]) == (0, None)


async def test_nobody_reads_of_anybody_else(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    ada, bob = await desk.a_user(full_name="Ada"), await desk.a_user(full_name="Bob")
    of_ada = await fill(database_urls, ada)
    await fill(database_urls, bob)
    text = json.dumps(await exported(client, desk.signed_in(bob)))
    foreign = {str(value) for row in of_ada.values() for key, value in row.items() if key in {"id", "user_id"}}
    foreign -= {str(of_ada["plans"]["id"])}
    assert [value for value in foreign if value in text] == []


async def test_it_holds_no_secret(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    user_id = await desk.a_user(password_hash="$argon2id$secret")
    made = await fill(database_urls, user_id, mails={"parameters": {"token_sealed": "c2VhbGVk"}})
    text = json.dumps(await exported(client, desk.signed_in(user_id)))
    secrets = [value.decode() for row in made.values() for value in row.values() if isinstance(value, bytes)]
    assert len(secrets) > 10
    assert [value for value in [*secrets, "$argon2id$secret", "c2VhbGVk"] if value in text] == []


async def test_a_page_has_an_end_and_the_next_one_goes_on(
    database: Database, desk: Desk, database_urls: DatabaseUrls
) -> None:
    export = DataExport(database, desk.clock, most_rows=2)
    user_id = await desk.a_user()
    license_id = (await desk.a_license(user_id)).license.id
    await change(
        database_urls,
        "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
        " used_after, seq, is_overage, occurred_at) SELECT :license, :user, 'databases', 'created',"
        " 1, n::text, '', n, n, false, now() FROM generate_series(1, 5) AS n",
        license=license_id,
        user=user_id,
    )
    ada = Principal(user_id, Role.CUSTOMER, user_id, desk.clock())
    pages = [await export.page(ada, page, Caller(address="192.0.2.1")) for page in range(4)]
    assert [[event["used_after"] for event in page.tables["usage_events"]] for page in pages] == [
        [1, 2],
        [3, 4],
        [5],
        [],
    ]
    assert [page.next_page for page in pages] == [1, 2, None, None]


async def test_a_user_reads_own_actions_and_those_of_staff_but_not_of_others(client: Client, desk: Desk) -> None:
    admin = await desk.staff()
    bob = await desk.a_user()
    suspension = f"/api/v1/admin/users/{bob}"
    said = {"reason": "a suspicion", "message": "for bob alone"}
    await client.post(f"{suspension}/suspend", json=said, headers=admin)
    await client.post(f"{suspension}/resume", json={"reason": "cleared"}, headers=admin)
    acts = (await exported(client, admin))["tables"]["audit_log"]
    assert [(event["action"], event["actor"], event["detail"]) for event in acts] == [
        ("user.suspended", "owner", None),
        ("user.resumed", "owner", None),
    ]
    signed_in = desk.signed_in(bob, session_id=await desk.a_session(bob))
    bobs = (await exported(client, signed_in))["tables"]["audit_log"]
    assert [(event["actor"], event["detail"]) for event in bobs] == [
        ("staff", {"message": "for bob alone", "sessions_ended": 1}),
        ("staff", {}),
    ]
    assert str(desk.user_of(admin)) not in json.dumps(bobs)


async def test_it_is_on_record_and_needs_a_fresh_sign_in(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    ada = await desk.a_customer()
    await exported(client, ada)
    (audit,) = await rows(database_urls, "SELECT actor_id, action, target_id, detail FROM audit_log")
    assert (audit["action"], audit["target_id"]) == ("account.exported", str(desk.user_of(ada)))
    assert (audit["actor_id"], audit["detail"]) == (desk.user_of(ada), {"page": 0})
    clock.now += timedelta(minutes=5, seconds=1)
    stale = await client.get(PATH, headers=ada)
    assert (stale.status_code, stale.json()["code"]) == (403, "step_up_required")


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.SUPPORT])
async def test_whoever_has_nothing_is_told_so(client: Client, desk: Desk, role: Role) -> None:
    tables = (await exported(client, await desk.staff(role)))["tables"]
    assert {name for name, found in tables.items() if found} == {"users", "sessions"}
