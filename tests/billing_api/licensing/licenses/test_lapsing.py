"""Licenses that are over are recorded as expired, once, and NextPanel is told; those that a subscription renews not."""

from datetime import timedelta

import pytest

from billing_api.licensing.licenses.lapsing import LATE, next_due, record_expired
from db.unit_of_work import Database
from tests.billing_api.conftest import FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

_STATUS = "SELECT status, expiry_date FROM licenses WHERE id = :id"


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ("expiry_date = :end, auto_renew = false", "expired"),
        ("expiry_date = :end, grace_until = :later, auto_renew = false", "active"),
        ("expiry_date = :later, auto_renew = false", "active"),
        ("expiry_date = NULL, auto_renew = false", "active"),
        ("expiry_date = :end, auto_renew = true", "active"),
        ("expiry_date = :end, auto_renew = false, status = 'suspended'", "suspended"),
    ],
)
async def test_which_are_recorded(
    columns: str, status: str, desk: Desk, database: Database, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    instants = {"end": clock.now - LATE - timedelta(seconds=1), "later": clock.now + timedelta(days=1)}
    named = {name: instant for name, instant in instants.items() if f":{name}" in columns}
    await change(database_urls, f"UPDATE licenses SET {columns} WHERE id = :id", id=license_id, **named)
    await change(database_urls, "DELETE FROM outbox")
    for _ in range(2):
        await record_expired(database, clock)
    assert (await rows(database_urls, _STATUS, id=license_id))[0]["status"] == status
    told = await rows(database_urls, "SELECT 1 FROM outbox WHERE job ->> 'type' = 'align_account'")
    assert len(told) == (1 if status == "expired" else 0)


async def test_the_next_one_is_told_to_who_moves_the_time(
    desk: Desk, database: Database, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    end = clock.now + timedelta(days=3)
    await change(database_urls, "UPDATE licenses SET expiry_date = :end, auto_renew = false", end=end)
    assert await next_due(database) == end + LATE
    clock.now = end + LATE + timedelta(seconds=1)
    assert await record_expired(database, clock) == 1
    assert (await rows(database_urls, _STATUS, id=license_id))[0]["status"] == "expired"
    assert await next_due(database) is None
