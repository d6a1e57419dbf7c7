"""Fingerprint policy: set by staff, enforced by the validator."""

from typing import Any

import pytest
from sqlalchemy import select

from core.ids import new_id
from core.jobs import ProjectLicense, from_row
from core.licensing.record import LicenseRecord, Usage
from core.licensing.verdict import judge
from db.models.identity import Role
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from workers.projection.records import read

PATH = "/api/v1/admin/licenses"


async def projected(database: Database) -> LicenseRecord:
    """The validator's document, as made for the newest outbox row."""
    async with database.as_system() as tx:
        jobs = [from_row(row) for row in await tx.session.scalars(select(OutboxRow.job).order_by(OutboxRow.id))]
        newest = [job for job in jobs if isinstance(job, ProjectLicense)][-1:]
        return (await read(tx.session, newest)).licenses[0][1]


async def test_staff_set_what_verdicts_ask_for(
    client: Client, desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    await change(database_urls, "UPDATE licenses SET fingerprint = 'here'")
    admin = await desk.staff()

    async def set_policy(policy: str, **more: str) -> dict[str, Any]:
        order = {"fingerprint_policy": policy, **more}
        answer = await client.patch(f"{PATH}/{license_id}", json=order, headers=admin)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def codes() -> list[str]:
        """Verdicts for a panel that sends no fingerprint, its own, and another one."""
        record = await projected(database)
        now = desk.clock().timestamp()
        return [judge(record, Usage(), "create_database", told, now).code.value for told in (None, "here", "there")]

    assert await codes() == ["VALID", "VALID", "FINGERPRINT_MISMATCH"]
    shown = await set_policy("required", reason="key was passed on")
    assert (shown["fingerprint_policy"], shown["version"]) == ("required", 3)
    assert await codes() == ["FINGERPRINT_REQUIRED", "VALID", "FINGERPRINT_MISMATCH"]
    assert (await set_policy("required"))["version"] == 3, "the same policy again is no change"
    mine = await client.get(f"/api/v1/licenses/{license_id}", headers=desk.signed_in(owner))
    assert mine.json()["fingerprint_policy"] == "required"
    assert (await set_policy("none"))["fingerprint_policy"] == "none"
    assert await codes() == ["VALID", "VALID", "FINGERPRINT_MISMATCH"]
    trail = await rows(
        database_urls,
        "SELECT detail FROM audit_log WHERE action = 'license.fingerprint_policy_set' ORDER BY id",
    )
    assert [row["detail"] for row in trail] == [
        {"before": "none", "after": "required", "reason": "key was passed on"},
        {"before": "required", "after": "none"},
    ]


@pytest.mark.parametrize(
    "order",
    [{}, {"fingerprint_policy": "always"}, {"fingerprint_policy": None}, {"fingerprint": "x"}, {"reason": "because"}],
)
async def test_what_does_not_fit_changes_nothing(client: Client, desk: Desk, order: dict[str, Any]) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    admin = await desk.staff()
    answer = await client.patch(f"{PATH}/{license_id}", json=order, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    shown = (await client.get(f"{PATH}/{license_id}", headers=admin)).json()
    assert (shown["fingerprint_policy"], shown["version"]) == ("none", 1)


async def test_it_is_for_admins_and_for_licenses_that_are(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    path = f"{PATH}/{(await desk.a_license(owner)).license.id}"
    order = {"fingerprint_policy": "required"}
    for headers in (desk.signed_in(owner), await desk.staff(Role.SUPPORT)):
        assert (await client.patch(path, json=order, headers=headers)).status_code == 403
    assert (await client.patch(f"{PATH}/{new_id()}", json=order, headers=await desk.staff())).status_code == 404
