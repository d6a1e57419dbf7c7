"""Limits by staff for one license, and the search for licenses that exceed theirs."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from core.jobs import ProjectLicense, from_row
from core.licensing.record import LicenseRecord
from db.models.identity import Role
from db.models.licensing import LicenseType
from db.models.messaging import AuditRow, OutboxRow
from db.models.usage import LicenseUsage
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.people import Desk, Headers
from workers.projection.records import read

PATH = "/api/v1/admin/licenses"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def a_used_license(desk: Desk, **used: int) -> tuple[UUID, UUID]:
    """A starter license (five databases) and its owner."""
    user_id = await desk.a_user()
    license_id = (await desk.a_license(user_id, LicenseType.STARTER)).license.id
    rows = [
        {"license_id": license_id, "resource": name, "user_id": user_id, "used": number}
        for name, number in used.items()
    ]
    if rows:
        async with desk.database.as_system() as tx:
            await tx.session.execute(insert(LicenseUsage).values(rows))
    return license_id, user_id


async def projected(database: Database) -> LicenseRecord:
    """The validator's document, as made for the newest outbox row."""
    async with database.as_system() as tx:
        jobs = [from_row(row) for row in await tx.session.scalars(select(OutboxRow.job).order_by(OutboxRow.id))]
        newest = [job for job in jobs if isinstance(job, ProjectLicense)][-1:]
        return (await read(tx.session, newest)).licenses[0][1]


async def test_limits_change_at_once_and_used_stays(
    client: Client, desk: Desk, admin: Headers, database: Database
) -> None:
    license_id, owner = await a_used_license(desk, databases=4)
    async with database.as_system() as tx:
        jobs_before = len((await tx.session.execute(select(OutboxRow.id))).all())
    order = {"max_databases": 3, "max_emails": None, "reason": "agreed by mail"}
    answer = await client.post(f"{PATH}/{license_id}/limits", json=order, headers=admin)
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["max_databases"], shown["max_emails"], shown["max_domains"], shown["version"]) == (3, None, 3, 2)
    async with database.as_system() as tx:
        assert len((await tx.session.execute(select(OutboxRow.id))).all()) == jobs_before + 1
        audit = (await tx.session.execute(select(AuditRow.action, AuditRow.detail))).all()
    record = await projected(database)
    assert (record.version, record.limits["databases"], record.limits["emails"]) == (2, 3, None)
    assert [tuple(row) for row in audit] == [
        (
            "license.limits_set",
            {
                "before": {"max_databases": 5, "max_emails": 10},
                "after": {"max_databases": 3, "max_emails": None},
                "reason": "agreed by mail",
            },
        )
    ]
    mine = await client.get(f"/api/v1/licenses/{license_id}/usage", headers=desk.signed_in(owner))
    theirs = await client.get(f"{PATH}/{license_id}/usage", headers=admin)
    assert mine.json() == theirs.json()
    assert theirs.json()["resources"]["databases"] == {"used": 4, "held": None, "limit": 3, "over": 1}


@pytest.mark.parametrize(
    "order",
    [
        {"reason": "nothing named"},
        {"max_databases": 1},
        {"max_databases": -1, "reason": "x"},
        {"max_databases": 2**31, "reason": "x"},
        {"max_databases": "9", "reason": "x"},
        {"max_unicorns": 1, "reason": "x"},
    ],
)
async def test_limits_that_make_no_sense_change_nothing(
    client: Client, desk: Desk, admin: Headers, order: dict[str, Any]
) -> None:
    license_id, _ = await a_used_license(desk)
    answer = await client.post(f"{PATH}/{license_id}/limits", json=order, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["errors"]
    assert (await client.get(f"{PATH}/{license_id}", headers=admin)).json()["version"] == 1


async def test_support_sets_no_limits(client: Client, desk: Desk) -> None:
    license_id, _ = await a_used_license(desk)
    support, order = await desk.staff(Role.SUPPORT), {"max_databases": 1, "reason": "x"}
    assert (await client.post(f"{PATH}/{license_id}/limits", json=order, headers=support)).status_code == 403


async def test_staff_find_who_passes_a_limit(client: Client, desk: Desk, admin: Headers) -> None:
    over, _ = await a_used_license(desk, databases=6, emails=1)
    full, _ = await a_used_license(desk, databases=5)
    unlimited, _ = await a_used_license(desk, databases=900)
    order = {"max_databases": None, "reason": "x"}
    assert (await client.post(f"{PATH}/{unlimited}/limits", json=order, headers=admin)).status_code == 200
    found = {
        flag: {item["id"] for item in (await client.get(f"{PATH}?overage={flag}", headers=admin)).json()["items"]}
        for flag in ("true", "false")
    }
    assert found == {"true": {str(over)}, "false": {str(full), str(unlimited)}}
