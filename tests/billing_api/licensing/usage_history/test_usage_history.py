"""Usage history: by hour and day, with gaps filled, read by the index."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from billing_api.licensing.usage_history.repository import HISTORY
from core.licensing.plan import RESOURCES
from tests.billing_api.conftest import Client
from tests.support.databases import change
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

pytestmark = pytest.mark.calendar

DAY = datetime.fromisoformat("2026-03-10T00:00:00Z")


async def happened(
    urls: DatabaseUrls, license_id: UUID, *events: tuple[datetime, str, int, int, bool], resource: str = "databases"
) -> None:
    """Instant, action, count, total afterwards, overage."""
    for seq, (at, action, count, used, over) in enumerate(events):
        await change(
            urls,
            "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
            " used_after, seq, is_overage, occurred_at) SELECT id, user_id, :resource,"
            " CAST(:action AS usage_action), :count, :key, '', :used, :seq, :over, :at FROM licenses WHERE id = :id",
            id=license_id,
            at=at,
            action=action,
            count=count,
            used=used,
            over=over,
            seq=seq,
            key=f"{resource}-{seq}",
            resource=resource,
        )


async def asked(
    client: Client, path: str, headers: Headers, *, resource: str | None = "databases", **query: str
) -> tuple[int, Any]:
    params = query if resource is None else query | {"resource": resource}
    answer = await client.get(f"/api/v1/{path}/usage/history", params=params, headers=headers)
    return answer.status_code, answer.json()


async def test_each_day_has_its_point_also_where_nothing_happened(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    hour = timedelta(hours=1)
    await happened(
        database_urls,
        license_id,
        (DAY - hour, "created", 2, 2, False),
        (DAY, "created", 3, 5, False),
        (DAY + 23 * hour, "deleted", 1, 4, False),
        (DAY + 48 * hour, "created", 50, 54, True),
        (DAY + 96 * hour, "set", 1, 1, False),
    )
    window = {"from": "2026-03-10T05:00:00Z", "to": "2026-03-14T00:00:00Z"}
    status, mine = await asked(client, f"licenses/{license_id}", desk.signed_in(owner), **window)
    assert status == 200, mine
    shown = [(p["at"][:10], p["created"], p["deleted"], p["used"], p["overage"]) for p in mine["points"]]
    assert shown == [
        ("2026-03-10", 3, 1, 4, False),
        ("2026-03-11", 0, 0, 4, False),
        ("2026-03-12", 50, 0, 54, True),
        ("2026-03-13", 0, 0, 54, True),
    ]
    assert await asked(client, f"admin/licenses/{license_id}", await desk.staff(), **window) == (200, mine)
    window = {"by": "hour", "from": "2026-03-09T23:00:00Z", "to": "2026-03-10T01:30:00Z"}
    _, hours = await asked(client, f"licenses/{license_id}", desk.signed_in(owner), **window)
    assert [(p["created"], p["used"]) for p in hours["points"]] == [(2, 2), (3, 5), (0, 5)]


async def test_without_a_resource_all_are_told_as_each_alone_is(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    hour = timedelta(hours=1)
    before = (DAY - 5 * hour, "created", 7, 7, True)
    await happened(database_urls, license_id, (DAY + hour, "created", 3, 3, False), resource="emails")
    await happened(database_urls, license_id, before, (DAY, "deleted", 6, 1, False), resource="domains")
    await happened(database_urls, license_id, before, resource="storage_gb")
    path, me = f"licenses/{license_id}", desk.signed_in(owner)
    window = {"from": "2026-03-10T00:00:00Z", "to": "2026-03-12T00:00:00Z"}
    status, told = await asked(client, path, me, resource=None, **window)
    assert (status, told.keys(), told["by"]) == (200, {"by", "resources"}, "day")
    used = {name: [point["used"] for point in points] for name, points in told["resources"].items()}
    assert used == {
        "accounts": [0, 0],
        "domains": [1, 1],
        "databases": [0, 0],
        "emails": [3, 3],
        "storage_gb": [7, 7],
    }
    assert [point["overage"] for point in told["resources"]["storage_gb"]] == [True, True]
    for name, points in told["resources"].items():
        _, alone = await asked(client, path, me, resource=name, **window)
        assert alone == {"resource": name, "by": "day", "points": points}
    assert await asked(client, f"admin/{path}", await desk.staff(), resource=None, **window) == (200, told)
    foreign = await asked(client, path, await desk.a_customer(), resource=None)
    assert foreign[0] == 404


async def test_corrections_are_told(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    hour = timedelta(hours=1)
    await happened(
        database_urls,
        license_id,
        (DAY, "deleted", 9, -9, False),
        (DAY + hour, "corrected", 9, 0, False),
        (DAY + hour, "created", 2, 2, False),
    )
    window = {"from": "2026-03-10T00:00:00Z", "to": "2026-03-11T00:00:00Z"}
    _, told = await asked(client, f"licenses/{license_id}", desk.signed_in(owner), **window)
    point = {"at": "2026-03-10T00:00:00Z", "created": 2, "deleted": 9, "corrected": 9, "used": 2, "overage": False}
    assert told["points"] == [point]


async def test_without_a_window_it_is_the_last_thirty_days_or_two_of_hours(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    path, me = f"licenses/{(await desk.a_license(owner)).license.id}", desk.signed_in(owner)
    assert len((await asked(client, path, me))[1]["points"]) == 31
    assert len((await asked(client, path, me, by="hour"))[1]["points"]) == 49


async def test_anothers_license_is_not_found(client: Client, desk: Desk) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    assert (await asked(client, f"licenses/{license_id}", await desk.a_customer()))[0] == 404
    assert (await asked(client, f"admin/licenses/{license_id}", await desk.a_customer()))[0] == 403


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"resource": "unicorns"}, "resource"),
        ({"by": "week"}, "by"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-03-10T00:00:00"}, "from"),
        ({"from": "2020-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "from"),
        ({"from": "2026-03-11T00:00:00Z", "to": "2026-03-10T00:00:00Z"}, "to"),
        ({"to": "9999-12-31T23:59:59-14:00"}, "from"),
    ],
)
async def test_a_bad_window_is_told_by_its_field(client: Client, desk: Desk, query: dict[str, str], field: str) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    status, problem = await asked(client, f"licenses/{license_id}", desk.signed_in(owner), **query)
    assert (status, problem["errors"][0]["field"]) == (400, field)


async def test_it_is_read_by_the_index(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    owner = await desk.a_user()
    ids = [(await desk.a_license(owner)).license.id for _ in range(20)]
    await change(
        database_urls,
        "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
        " used_after, seq, is_overage, occurred_at) SELECT id, user_id, 'databases', 'created', 1,"
        " n::text, '', n, n, false, CAST(:day AS timestamptz) + n * interval '1 hour'"
        " FROM licenses, generate_series(1, 1000) AS n",
        day=DAY,
    )
    await change(database_urls, "ANALYZE usage_events")
    since = DAY + timedelta(days=10)
    window = {"since": since, "until": since + timedelta(days=2), "step": timedelta(hours=1)}
    async with desk.database.as_customer(owner) as tx:
        for resources in (["databases"], list(RESOURCES)):
            explain = text(f"EXPLAIN {HISTORY.text}")
            plan = "\n".join(
                await tx.session.scalars(explain, {"license_id": ids[0], "resources": resources, **window})
            )
            assert plan.count("ix_usage_events_license_id_occurred_at") == 2, plan
            assert "Seq Scan" not in plan, plan
