"""Invalid reports: the answer names the field, nothing of them is stored, and valid reports of the same list are.

Each case is sent alone and inside a list.
"""

from typing import Any, Final

import pytest
from sqlalchemy import text

from core.clock import rfc3339, utc_now
from core.ids import new_id
from db.models.licensing import LicenseType
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.billing_api.licensing.usage.test_usage import an_api_key, report
from tests.support.people import Desk

pytestmark = [pytest.mark.usefixtures("client"), pytest.mark.calendar]

_STORED: Final = text(
    """
    SELECT (SELECT count(*) FROM usage_events), (SELECT count(*) FROM license_usage),
           (SELECT count(*) FROM hold_settlements), (SELECT count(*) FROM outbox WHERE job ->> 'type' = 'project_usage')
    """
)

WRONG: Final[list[tuple[dict[str, Any], str]]] = [
    ({"resource": "unicorns"}, "resource"),
    ({"resource": None}, "resource"),
    ({"action": "borrowed"}, "action"),
    ({"count": -1}, "count"),
    ({"count": 0}, "count"),
    ({"count": 1.5}, "count"),
    ({"count": "1"}, "count"),
    ({"count": True}, "count"),
    ({"count": 1_000_000_001}, "count"),
    ({"count": 10**30}, "count"),
    ({"occurred_at": "2999-01-01T00:00:00Z"}, "occurred_at"),
    ({"occurred_at": "1999-12-31T23:59:59Z"}, "occurred_at"),
    ({"occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
    ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at"),
    ({"occurred_at": "yesterday"}, "occurred_at"),
    ({"occurred_at": 1_700_000_000}, "occurred_at"),
    ({"reservation_id": "0" * 32}, "reservation_id"),
    ({"reservation_id": "a\0b"}, "reservation_id"),
    ({"license_key": 5}, "license_key"),
]


@pytest.fixture
async def panel(client: Client, desk: Desk) -> tuple[str, dict[str, Any]]:
    """A platform key, and a report about a starter license (five databases)."""
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    body = {"license_key": issued.key, "resource": "databases", "action": "created", "count": 1}
    return await an_api_key(desk), body


async def stored(database: Database) -> tuple[int, ...]:
    """Events, totals, settlements, and totals on their way to Redis."""
    async with database.as_system() as tx:
        return tuple((await tx.session.execute(_STORED)).one())


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


@pytest.mark.parametrize(("change", "field"), WRONG)
async def test_alone(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database, change: dict[str, Any], field: str
) -> None:
    key_id, body = panel
    status, problem = await report(client, key_id, body | change)
    assert (status, problem["status"], problem["code"], fields(problem)) == (400, 400, "invalid_input", [field])
    assert await stored(database) == (0, 0, 0, 0)
    assert (await report(client, key_id, body))[0] == 200  # its idempotency key is still free


@pytest.mark.parametrize(("change", "field"), WRONG)
async def test_in_a_list(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database, change: dict[str, Any], field: str
) -> None:
    key_id, body = panel
    items = [body | {"idempotency_key": name} for name in ("before", "wrong", "after")]
    items[1] |= change
    status, answer = await report(client, key_id, {"items": items}, "")
    assert (status, [item["success"] for item in answer["items"]]) == (200, [True, False, True])
    problem = answer["items"][1]["problem"]
    assert (problem["status"], problem["conclusive"], fields(problem)) == (400, True, [field])
    assert (await stored(database))[:3] == (2, 1, 0)


async def test_all_faults_of_a_report_are_told_at_once(client: Client, panel: tuple[str, dict[str, Any]]) -> None:
    key_id, body = panel
    wrong = {"count": 0, "reservation_id": "0" * 32, "occurred_at": "1999-12-31T23:59:59Z"}
    _, problem = await report(client, key_id, body | wrong)
    assert fields(problem) == ["count", "reservation_id", "occurred_at"]


async def test_a_foreign_license_is_unknown_to_its_stranger(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    _, body = panel
    other = await desk.a_license(await desk.a_user())
    bound = await an_api_key(desk, license_id=other.license.id)
    foreign = await report(client, bound, body)
    unknown = await report(client, bound, body | {"license_key": "NP-0000-0000-0000"})
    assert (foreign[0], foreign[1]["code"], foreign[1]["detail"]) == (404, "not_found", unknown[1]["detail"])
    assert await stored(database) == (0, 0, 0, 0)


async def test_another_license_s_reservation_is_left_alone(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    """A reservation id contains its license. So even a platform key, which may report for both, cannot end it."""
    key_id, body = panel
    other = await desk.a_license(await desk.a_user())
    reservation = other.license.license_key_hash.hex()[:8] + new_id().hex[:24]
    status, problem = await report(client, key_id, body | {"reservation_id": reservation})
    assert (status, fields(problem)) == (400, ["reservation_id"])
    assert await stored(database) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "change", [{"count": 2}, {"action": "deleted"}, {"resource": "emails"}, {"occurred_at": rfc3339(utc_now())}]
)
async def test_a_used_key_with_another_body_changes_nothing(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database, change: dict[str, Any]
) -> None:
    key_id, body = panel
    # A total that is reported about for the first time begins at 0 before it is known that the key was used.
    await report(client, key_id, body | {"resource": "emails"}, "r-0")
    first = await report(client, key_id, body, "r-1")
    before = await stored(database)
    status, problem = await report(client, key_id, body | change, "r-1")
    assert (status, problem["code"], fields(problem)) == (422, "idempotency_mismatch", ["idempotency_key"])
    assert await stored(database) == before
    assert await report(client, key_id, body, "r-1") == first


async def test_one_key_belongs_to_one_license_and_may_be_another_s_too(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    other = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    for license_key in (body["license_key"], other.key):
        assert (await report(client, key_id, body | {"license_key": license_key}, "r-1"))[0] == 200
    assert (await stored(database))[:2] == (2, 2)


async def test_a_list_that_is_too_long_is_refused_whole_by_its_name(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    items = [body | {"idempotency_key": str(number)} for number in range(1001)]
    status, problem = await report(client, key_id, {"items": items}, "")
    assert (status, fields(problem)) == (400, ["items"])
    assert await stored(database) == (0, 0, 0, 0)


async def test_the_largest_counts_add_up(client: Client, panel: tuple[str, dict[str, Any]], database: Database) -> None:
    """They are allowed, and a total has room for them in both directions."""
    key_id, body = panel
    for action, sign in (("created", 1), ("deleted", -1)):
        item = body | {"count": 1_000_000_000, "action": action, "resource": "emails" if sign > 0 else "domains"}
        items = [item | {"idempotency_key": f"{action}-{number}"} for number in range(10)]
        _, answer = await report(client, key_id, {"items": items}, "")
        assert all(each["success"] for each in answer["items"])
    async with database.as_system() as tx:
        used = await tx.session.scalars(text("SELECT used FROM license_usage ORDER BY used"))
        assert used.all() == [-10_000_000_000, 10_000_000_000]
