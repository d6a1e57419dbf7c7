"""License administration by staff."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.ids import new_id
from core.licensing import key as license_key
from db.models.identity import Role
from db.models.licensing import License
from db.models.messaging import AuditRow, OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.support.people import Desk, Headers

PATH = "/api/v1/admin/licenses"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def an_order(desk: Desk, **changes: Any) -> dict[str, Any]:
    email = f"{new_id().hex}@Example.com"
    await desk.a_user(email=email)
    return {"email": email.lower(), "plan": "professional"} | changes


async def test_an_issued_license_has_a_key_that_is_shown_once(
    client: Client, desk: Desk, admin: Headers, database: Database
) -> None:
    answer = await client.post(PATH, json=await an_order(desk), headers=admin)
    assert answer.status_code == 201
    key = answer.json()["license_key"]
    assert license_key.parse(key, desk.settings.secrets.license_checksum_key) == key
    shown = await client.get(f"{PATH}/{answer.json()['id']}", headers=admin)
    assert shown.status_code == 200
    assert key not in shown.text
    async with database.as_system() as tx:
        row = (await tx.session.execute(select(License))).scalar_one()
        audit = (await tx.session.execute(select(AuditRow.action))).scalars().all()
    assert key.encode() not in row.license_key
    assert audit == ["license.issued"]


async def test_the_same_order_sent_twice_issues_one_license(client: Client, desk: Desk, admin: Headers) -> None:
    order, once = await an_order(desk), admin | {"Idempotency-Key": "order-1"}
    first = await client.post(PATH, json=order, headers=once)
    second = await client.post(PATH, json=order, headers=once)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    other = await client.post(PATH, json=order | {"plan": "starter"}, headers=once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert (await client.get(PATH, headers=admin)).json()["total"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "platinum"},
        {"plan": None},
        {"email": 7},
        {"expiry_date": "tomorrow"},
        {"expiry_date": "2030-01-01T00:00:00"},
        {"expiry_date": "2020-01-01T00:00:00Z"},
        {"expiry_date": "9999-12-31T23:59:59-14:00"},
        {"email": "nul\0@example.com"},
        {"color": "red"},
    ],
)
async def test_a_bad_order_is_refused_with_its_reason(
    client: Client, desk: Desk, admin: Headers, change: dict[str, Any]
) -> None:
    answer = await client.post(PATH, json=await an_order(desk) | change, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def test_an_unknown_address_gets_no_license(client: Client, admin: Headers) -> None:
    order = {"email": "nobody@example.com", "plan": "starter"}
    assert (await client.post(PATH, json=order, headers=admin)).status_code == 404


async def test_suspend_and_resume_follow_the_state_table(
    client: Client, desk: Desk, admin: Headers, database: Database
) -> None:
    issued = await desk.a_license(await desk.a_user())
    path = f"{PATH}/{issued.license.id}"
    reason = {"reason": "unpaid chargeback", "message": "your bank took it back"}
    suspended = await client.post(f"{path}/suspend", json=reason, headers=admin)
    assert (suspended.status_code, suspended.json()["status"]) == (200, "suspended")
    assert suspended.json()["version"] == 2
    assert suspended.json()["status_message"] == "your bank took it back"
    again = await client.post(f"{path}/suspend", json={"reason": "fraud"}, headers=admin)
    assert (again.status_code, again.json()["status"], again.json()["status_reason"]) == (200, "suspended", "fraud")
    assert again.json()["status_message"] is None
    resumed = await client.post(f"{path}/resume", json=reason, headers=admin)
    assert (resumed.status_code, resumed.json()["status"], resumed.json()["version"]) == (200, "active", 4)
    async with database.as_system() as tx:
        jobs = (await tx.session.execute(select(OutboxRow.job).order_by(OutboxRow.id))).scalars().all()
        audit = (await tx.session.execute(select(AuditRow.action, AuditRow.detail).order_by(AuditRow.id))).all()
    assert [job["type"] for job in jobs].count("align_account") == 2
    assert [(action, detail["before"], detail["reason"]) for action, detail in audit] == [
        ("license.suspended_by_admin", "active", "unpaid chargeback"),
        ("license.suspended_by_admin", "suspended", "fraud"),
        ("license.resumed_by_admin", "suspended", "unpaid chargeback"),
    ]


async def test_a_reason_that_cannot_be_stored_is_told_by_its_field(client: Client, desk: Desk, admin: Headers) -> None:
    issued = await desk.a_license(await desk.a_user())
    answer = await client.post(f"{PATH}/{issued.license.id}/suspend", json={"reason": "a\0b"}, headers=admin)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "reason")


async def test_staff_search_by_the_status_that_is_shown(
    client: Client, desk: Desk, admin: Headers, clock: FakeTime
) -> None:
    soon = (clock.now + timedelta(days=1)).isoformat()
    issued = (await client.post(PATH, json=await an_order(desk, expiry_date=soon), headers=admin)).json()
    await desk.a_license(await desk.a_user())
    clock.now += timedelta(days=1)
    admin = await desk.staff()
    expired = (await client.get(f"{PATH}?status=expired", headers=admin)).json()
    assert [(item["id"], item["status"]) for item in expired["items"]] == [(issued["id"], "expired")]
    active = (await client.get(f"{PATH}?status=active", headers=admin)).json()
    assert (active["total"], active["items"][0]["status"]) == (1, "active")


async def test_a_move_that_the_table_does_not_know_is_a_conflict(
    client: Client, desk: Desk, admin: Headers, database: Database
) -> None:
    issued = await desk.a_license(await desk.a_user())
    async with database.as_system() as tx:
        row = (await tx.session.execute(select(License))).scalar_one()
        row.status = type(row.status).CANCELLED
    answer = await client.post(f"{PATH}/{issued.license.id}/resume", json={"reason": "please"}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_move")


async def test_search_by_address_status_and_stuck_provisioning(client: Client, desk: Desk, admin: Headers) -> None:
    mine = await desk.a_license(await desk.a_user(email="Searched.For@example.com"))
    await desk.a_license(await desk.a_user())
    queries = {"email=searched.for@EXAMPLE.com": 1, "status=active": 2, "status=suspended": 0}
    queries |= {"provisioning=pending": 2, "provisioning=failed": 0, "email=nobody@example.com": 0}
    for query, total in queries.items():
        assert (await client.get(f"{PATH}?{query}", headers=admin)).json()["total"] == total, query
    found = await client.post(f"{PATH}/find-by-key", json={"license_key": mine.key.lower()}, headers=admin)
    assert (found.status_code, found.json()["id"]) == (200, str(mine.license.id))
    for nonsense in ("NP-0000-0000-0000", "x", ""):
        missing = await client.post(f"{PATH}/find-by-key", json={"license_key": nonsense}, headers=admin)
        assert missing.status_code == 404


async def test_support_sees_and_does_not_change(client: Client, desk: Desk) -> None:
    issued = await desk.a_license(await desk.a_user())
    support = await desk.staff(Role.SUPPORT)
    assert (await client.get(PATH, headers=support)).status_code == 200
    refused = await client.post(f"{PATH}/{issued.license.id}/suspend", json={"reason": "no"}, headers=support)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_customers_have_no_business_here(client: Client, desk: Desk) -> None:
    customer = await desk.a_customer()
    for path in (PATH, "/api/v1/admin/jobs", "/api/v1/admin/webhook-events"):
        assert (await client.get(path, headers=customer)).status_code == 403
        assert (await client.get(path)).status_code == 401


async def test_a_failed_provisioning_gets_another_try(
    client: Client, desk: Desk, admin: Headers, database: Database
) -> None:
    issued = await desk.a_license(await desk.a_user())
    async with database.as_system() as tx:
        row = (await tx.session.execute(select(License))).scalar_one()
        row.provisioning, row.provisioning_error = type(row.provisioning).FAILED, "the panel refused"
    assert (await client.get(f"{PATH}?provisioning=failed", headers=admin)).json()["total"] == 1
    answer = await client.post(f"{PATH}/{issued.license.id}/retry-provisioning", headers=admin)
    assert (answer.status_code, answer.json()["provisioning"]) == (200, "pending")
    async with database.as_system() as tx:
        jobs = (await tx.session.execute(select(OutboxRow.job))).scalars().all()
    assert [job["type"] for job in jobs].count("provision") == 2
