"""The audit trail over HTTP: searched by admins, and shown to the owner of a license."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.clock import rfc3339
from core.ids import new_id
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.support.people import Desk

PATH = "/api/v1/admin/audit"


async def test_acts_are_found_by_who_what_and_whom(
    client: Client, desk: Desk, database: Database, clock: FakeTime
) -> None:
    admin, actors = await desk.staff(), [new_id(), new_id()]
    for actor in actors:
        async with database.as_system(actor) as tx:
            await tx.audit("a.done", "license", "1", reason="r")
            await tx.audit("b.done", "user", "2")

    async def found(**query: Any) -> list[tuple[str, str]]:
        answer = await client.get(PATH, headers=admin, params=query)
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert answer.json()["total"] == len(items)
        return [(item["actor_id"], item["action"]) for item in items]

    one, two = map(str, actors)
    assert await found() == [(two, "b.done"), (two, "a.done"), (one, "b.done"), (one, "a.done")]
    assert await found(actor_id=one) == [(one, "b.done"), (one, "a.done")]
    assert await found(action="a.done") == [(two, "a.done"), (one, "a.done")]
    assert await found(actor_id=one, target_kind="license", target_id="1") == [(one, "a.done")]
    assert await found(action="%") == []
    ago, ahead = (rfc3339(clock.now + timedelta(hours=hours)) for hours in (-1, 1))
    assert len(await found(since=ago, until=ahead)) == 4
    assert await found(since=ahead) == []
    assert await found(until=ago) == []
    page = await client.get(PATH, headers=admin, params={"limit": 1, "offset": 3})
    assert (page.json()["total"], page.json()["items"][0]["detail"]) == (4, {"reason": "r"})


async def test_an_entry_names_its_actor_as_the_account_is_called_now(
    client: Client, desk: Desk, database: Database, clock: FakeTime
) -> None:
    admin, nobody = await desk.staff(), new_id()
    ada = await desk.a_user(full_name="Ada Löwe", email="Ada@Example.com")
    gone = await desk.a_user(full_name="", email="deleted@invalid", is_active=False, deleted_at=clock.now)
    for actor in (ada, desk.user_of(admin), gone, nobody, None):
        async with database.as_system(actor) as tx:
            await tx.audit("a.done", "license", "1")
    answer = await client.get(PATH, headers=admin)
    staff_id = desk.user_of(admin)
    assert [item["actor"] for item in answer.json()["items"]] == [
        {"kind": "system", "id": None, "name": None, "email": None},
        {"kind": "unknown", "id": str(nobody), "name": None, "email": None},
        {"kind": "erased", "id": str(gone), "name": None, "email": None},
        {"kind": "staff", "id": str(staff_id), "name": "Ada Buyer", "email": f"{staff_id.hex}@example.com"},
        {"kind": "customer", "id": str(ada), "name": "Ada Löwe", "email": "Ada@Example.com"},
    ]

    async def kinds(**query: str) -> list[str]:
        found = await client.get(PATH, headers=admin, params=query)
        assert found.json()["total"] == len(found.json()["items"]), found.text
        return [item["actor"]["kind"] for item in found.json()["items"]]

    assert await kinds(actor="system") == ["system"]
    assert await kinds(actor="ADA@example.com") == ["customer"]
    assert await kinds(actor="ada@example") == []
    assert await kinds(actor="system", actor_id=str(ada)) == []
    assert await kinds(actor="ada@example.com", actor_id=str(ada), action="a.done") == ["customer"]


@pytest.mark.parametrize(
    "query",
    [
        "actor_id=1",
        "since=yesterday",
        "until=2026-01-01T00:00:00",
        "since=9999-12-31T23:59:59-14:00",
        "limit=101",
        "action=%00",
        "actor=%00",
        "actor=" + 255 * "a",
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(client: Client, desk: Desk, query: str) -> None:
    answer = await client.get(f"{PATH}?{query}", headers=await desk.staff())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("role", [Role.CUSTOMER, Role.SUPPORT])
async def test_nobody_else_searches_it(client: Client, desk: Desk, role: Role) -> None:
    assert (await client.get(PATH, headers=await desk.staff(role))).status_code == 403


async def test_an_owner_is_told_what_was_done_to_his_license(client: Client, desk: Desk, database: Database) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    me, admin = desk.signed_in(owner), await desk.staff()
    license_id = issued.license.id
    await client.post(f"/api/v1/licenses/{license_id}/reveal-key", headers=me)
    staff = f"/api/v1/admin/licenses/{license_id}"
    await client.post(f"{staff}/suspend", headers=admin, json={"reason": "ticket 93", "message": "please pay"})
    await client.post(f"{staff}/resume", headers=admin, json={"reason": "a friend of Bob's"})
    async with database.as_system() as tx:
        await tx.audit("license.cancelled", "license", license_id, message="it ended", internal="not for owners")
        await tx.audit("license.cancelled", "user", license_id, reason="another kind of thing")
    other = await desk.a_license(owner)
    await client.post(f"/api/v1/licenses/{other.license.id}/reveal-key", headers=me)
    answer = await client.get(f"/api/v1/licenses/{license_id}/events", headers=me)
    assert answer.status_code == 200, answer.text
    told = [(item["action"], item["actor"], item["detail"]) for item in answer.json()["items"]]
    assert told == [
        ("license.cancelled", "system", {"message": "it ended"}),
        ("license.resumed_by_admin", "staff", {"before": "suspended"}),
        ("license.suspended_by_admin", "staff", {"message": "please pay", "before": "active"}),
        ("license.key_revealed", "owner", {}),
    ]
    stranger = await desk.a_customer()
    assert (await client.get(f"/api/v1/licenses/{license_id}/events", headers=stranger)).status_code == 404


async def test_reasons_that_no_person_gave_are_told_as_messages(client: Client, desk: Desk, database: Database) -> None:
    """Rows from before messages: the application wrote its reason for the owner."""
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    for actor in (None, owner, desk.user_of(await desk.staff())):
        async with database.as_system(actor) as tx:
            await tx.audit("license.cancelled", "license", license_id, reason="it ended")
    answer = await client.get(f"/api/v1/licenses/{license_id}/events", headers=desk.signed_in(owner))
    told = [(item["actor"], item["detail"]) for item in answer.json()["items"]]
    assert told == [("staff", {}), ("owner", {"message": "it ended"}), ("system", {"message": "it ended"})]


async def test_the_view_shows_nothing_to_others_and_the_log_nothing_to_customers(
    desk: Desk, database: Database
) -> None:
    owner, other = await desk.a_user(), await desk.a_user()
    issued = await desk.a_license(owner)
    async with database.as_system() as tx:
        await tx.audit("license.cancelled", "license", issued.license.id)
    look = text("SELECT count(*) FROM license_events")
    for who, count in ((owner, 1), (other, 0)):
        async with database.as_customer(who) as tx:
            assert await tx.session.scalar(look) == count
    async with database.engine.begin() as bare:
        assert await bare.scalar(look) == 0
    for table in ("audit_log", "audit_seals", "audit_unsealed"):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.as_customer(owner) as tx:
                await tx.session.execute(text(f"SELECT * FROM {table}"))
