"""Usage reports: signed, counted once, recorded even over the limit."""

import asyncio
import json
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select

from billing_api.licensing.api_keys.issuing import SECRET_CONTEXT
from core.clock import unix_time
from core.crypto.signature import HEADER, sign
from core.ids import new_id
from db.models.licensing import ApiKey, LicenseType
from db.models.usage import LicenseUsage, UsageEvent
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.people import Desk

PATH = "/api/v1/billing/usage"
SECRET = "panel-secret"


async def an_api_key(desk: Desk, *, license_id: UUID | None = None, **changes: Any) -> str:
    key_id = f"npk_{new_id().hex}"
    row = {
        "id": new_id(),
        "license_id": license_id,
        "key_id": key_id,
        "key_hash": b"",
        "secret": desk.settings.secrets.sealer.seal(SECRET.encode(), context=SECRET_CONTEXT.format(key_id)),
        "name": "panel",
        "permissions": ["usage"],
        "is_active": True,
    }
    async with desk.database.as_system() as tx:
        await tx.session.execute(insert(ApiKey).values(row | changes))
    return key_id


async def report(
    client: Client, key_id: str, content: dict[str, Any], idem: str = "r-1", *, ahead: float = 0.0, **changes: Any
) -> tuple[int, dict[str, Any]]:
    """`ahead`: seconds by which the panel's clock is fast."""
    raw = json.dumps(content).encode()
    facts: dict[str, Any] = {
        "method": "POST",
        "target": PATH,
        "body": raw,
        "now": unix_time() + ahead,
        "idempotency_key": idem,
    } | changes
    headers = {HEADER: sign(key_id, facts.pop("secret", SECRET), **facts), "Idempotency-Key": idem}
    answer = await client.post(PATH, content=raw, headers=headers | {"Content-Type": "application/json"})
    assert answer.headers["content-type"] in {"application/json", "application/problem+json"}
    return answer.status_code, answer.json()


@pytest.fixture
async def panel(client: Client, desk: Desk) -> tuple[str, dict[str, Any]]:
    """A platform key, and a report about a starter license (five databases)."""
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    body = {"license_key": issued.key, "resource": "databases", "action": "created", "count": 1}
    return await an_api_key(desk), body


async def test_a_report_is_counted(client: Client, panel: tuple[str, dict[str, Any]]) -> None:
    key_id, body = panel
    assert await report(client, key_id, body) == (200, {"success": True, "quota_remaining": 4, "overage": False})
    deleted = body | {"action": "deleted"}
    assert (await report(client, key_id, deleted, "r-2"))[1]["quota_remaining"] == 5
    assert (await report(client, key_id, body | {"action": "set", "count": 3}, "r-3"))[1]["quota_remaining"] == 2


async def test_the_same_report_is_counted_once(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    answers = await asyncio.gather(*(report(client, key_id, body) for _ in range(8)))
    assert answers == [(200, {"success": True, "quota_remaining": 4, "overage": False})] * 8
    async with database.as_system() as tx:
        assert len((await tx.session.execute(select(UsageEvent))).all()) == 1
        assert (await tx.session.execute(select(LicenseUsage.used))).scalar_one() == 1


async def test_the_same_key_with_another_report_is_refused(client: Client, panel: tuple[str, dict[str, Any]]) -> None:
    key_id, body = panel
    await report(client, key_id, body)
    status, problem = await report(client, key_id, body | {"count": 2})
    assert (status, problem["code"]) == (422, "idempotency_mismatch")


async def test_what_a_report_is_told_apart_by_does_not_depend_on_those_before_it(
    client: Client, panel: tuple[str, dict[str, Any]], desk: Desk, database: Database
) -> None:
    """One instant in two spellings: equal in Python, but not the same report, in any process."""
    key_id, body = panel
    here = desk.clock().replace(microsecond=0)
    there = here.astimezone(timezone(timedelta(hours=1)))
    for key, instant in (("r-1", here), ("r-2", there)):
        assert (await report(client, key_id, body | {"occurred_at": instant.isoformat()}, key))[0] == 200
    async with database.as_system() as tx:
        hashes = (await tx.session.execute(select(UsageEvent.body_hash))).scalars().all()
    assert len(set(hashes)) == 2


async def test_facts_are_recorded_over_the_limit_and_flagged(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    status, answer = await report(client, key_id, body | {"count": 7})
    assert (status, answer) == (200, {"success": True, "quota_remaining": 0, "overage": True})
    async with database.as_system() as tx:
        event = (await tx.session.execute(select(UsageEvent))).scalar_one()
    assert (event.is_overage, event.used_after) == (True, 7)
    shown = await client.get(f"/api/v1/licenses/{event.license_id}/usage", headers=desk.signed_in(event.user_id))
    assert shown.status_code == 200, shown.text
    assert shown.json()["resources"]["databases"] == {"used": 7, "held": None, "limit": 5, "over": 2}


async def test_below_zero_is_stored_and_shown_as_zero(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    status, answer = await report(client, key_id, body | {"action": "deleted"})
    assert (status, answer["quota_remaining"]) == (200, 5)
    async with database.as_system() as tx:
        total = (await tx.session.execute(select(LicenseUsage))).scalar_one()
    assert total.used == -1
    assert (await report(client, key_id, body, "r-2"))[1]["quota_remaining"] == 5


async def test_events_add_up_to_the_total_under_concurrency(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database
) -> None:
    key_id, body = panel
    answers = await asyncio.gather(*(report(client, key_id, body, f"r-{n}") for n in range(30)))
    assert {status for status, _ in answers} == {200}
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(LicenseUsage.used))).scalar_one() == 30
        after = (await tx.session.execute(select(UsageEvent.used_after))).scalars().all()
    assert sorted(after) == list(range(1, 31))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"secret": "wrong"}, "invalid_signature"),
        ({"target": PATH + "?x=1"}, "invalid_signature"),
        ({"method": "PUT"}, "invalid_signature"),
        ({"body": b"{}"}, "invalid_signature"),
        ({"idempotency_key": "another"}, "invalid_signature"),
        ({"ahead": -400}, "invalid_signature"),
        ({"ahead": 120}, "invalid_signature"),
    ],
)
async def test_what_is_not_rightly_signed_is_refused(
    client: Client, panel: tuple[str, dict[str, Any]], database: Database, change: dict[str, Any], code: str
) -> None:
    key_id, body = panel
    status, problem = await report(client, key_id, body, **change)
    assert (status, problem["code"]) == (401, code)
    assert abs(problem["server_time"] - unix_time()) < 60
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(UsageEvent))).all() == []


async def test_keys_that_may_not_report(client: Client, desk: Desk, panel: tuple[str, dict[str, Any]]) -> None:
    _, body = panel
    other = await desk.a_license(await desk.a_user())
    bound = await an_api_key(desk, license_id=other.license.id)
    assert (await report(client, bound, body))[0] == 404
    assert (await report(client, await an_api_key(desk, is_active=False), body))[0] == 401
    assert (await report(client, await an_api_key(desk, expires_at=desk.clock()), body))[0] == 401
    assert (await report(client, await an_api_key(desk, permissions=["validate"]), body))[0] == 403
    assert (await report(client, "npk_unknown", body))[0] == 401


async def test_the_previous_secret_holds_until_its_overlap_ends(
    client: Client, desk: Desk, panel: tuple[str, dict[str, Any]]
) -> None:
    _, body = panel
    key_id = f"npk_{new_id().hex}"
    sealer, context = desk.settings.secrets.sealer, SECRET_CONTEXT.format(key_id)
    now = desk.clock()
    both: dict[str, Any] = {
        "secret": sealer.seal(b"new", context=context),
        "previous_secret": sealer.seal(b"old", context=context),
    }
    await an_api_key(desk, key_id=key_id, previous_until=now + timedelta(days=1), **both)
    assert (await report(client, key_id, body, "r-1", secret="new"))[0] == 200
    assert (await report(client, key_id, body, "r-2", secret="old"))[0] == 200
    async with desk.database.as_system() as tx:
        (await tx.session.execute(select(ApiKey).where(ApiKey.key_id == key_id))).scalar_one().previous_until = now
    async with asyncio.timeout(5):  # a key is cached for a moment
        while (await report(client, key_id, body, "r-2", secret="old"))[0] != 401:  # noqa: ASYNC110  a state to wait for
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"resource": "unicorns"},
        {"action": "borrowed"},
        {"count": -1},
        {"count": 1.5},
        {"count": "1"},
        {"count": 10**12},
        {"extra": True},
        {"license_key": 5},
        {"occurred_at": "yesterday"},
        {"occurred_at": "9999-12-31T23:59:59-14:00"},
        {"occurred_at": "0001-01-01T00:00:00+14:00"},
        {"reservation_id": "a\0b"},
    ],
)
async def test_bad_reports_are_refused(
    client: Client, panel: tuple[str, dict[str, Any]], change: dict[str, Any]
) -> None:
    key_id, body = panel
    status, problem = await report(client, key_id, body | change)
    assert (status, problem["code"]) == (400, "invalid_input")


async def test_an_idempotency_key_is_required(client: Client, panel: tuple[str, dict[str, Any]]) -> None:
    key_id, body = panel
    assert (await report(client, key_id, body, ""))[0] == 400


async def test_an_unknown_license_is_not_found(client: Client, panel: tuple[str, dict[str, Any]]) -> None:
    key_id, body = panel
    assert (await report(client, key_id, body | {"license_key": "NP-0000-0000-0000"}))[0] == 404
