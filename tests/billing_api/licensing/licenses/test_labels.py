"""Labels of licenses: the owner's own name, in one spelling, known to nobody but the owner and staff."""

import unicodedata
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from db.models.commerce import LicenseSubscription, Subscription, SubscriptionStatus
from db.models.identity import Role
from db.models.licensing import License
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import as_owner, change, rows
from tests.support.people import Desk
from tests.support.rows import STARTER_PLAN, a_link, a_row
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/licenses"
JOBS = "SELECT count(*) FROM outbox WHERE job ->> 'type' = 'project_license'"
STANDING = "SELECT version, updated_at FROM licenses"
DECOMPOSED = unicodedata.normalize("NFD", "Töpferei Việt")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Shop, Graz", "Shop, Graz"),
        ("  Shop\u00a0", "Shop"),
        (DECOMPOSED, "Töpferei Việt"),
        (unicodedata.normalize("NFD", "ệ" * 80), "ệ" * 80),
        ("👩\u200d🍳 دكان", "👩\u200d🍳 دكان"),
        ("'); DROP TABLE licenses;--", "'); DROP TABLE licenses;--"),
        (None, None),
    ],
)
async def test_a_label_is_kept_in_one_spelling(client: Client, desk: Desk, sent: str | None, kept: str | None) -> None:
    owner = await desk.a_user()
    license_id = (await desk.a_license(owner)).license.id
    me = desk.signed_in(owner)
    changed, again = [await client.patch(f"{PATH}/{license_id}", json={"label": sent}, headers=me) for _ in range(2)]
    assert (changed.status_code, changed.json()["label"]) == (200, kept), changed.text
    assert again.json() == changed.json()
    assert (await client.get(f"{PATH}/{license_id}", headers=me)).json() == changed.json()
    assert (await client.get(PATH, headers=me)).json()["items"] == [changed.json()]
    staff = await desk.staff(Role.SUPPORT)
    assert (await client.get(f"/api/v1/admin/licenses/{license_id}", headers=staff)).json()["label"] == kept
    removed = await client.patch(f"{PATH}/{license_id}", json={"label": None}, headers=me)
    assert removed.json()["label"] is None


@pytest.mark.parametrize(
    "body",
    [
        {"label": ""},
        {"label": " \u00a0"},
        {"label": "two\nlines"},
        {"label": "\u202egnp.exe"},
        {"label": "zero\u200bwidth"},
        {"label": "nul\x00"},
        {"label": "l" * 81},
        {"label": "l" * 100_000},
        {"label": 7},
        {"name": "x"},
        {"label": "x", "status": "active"},
        [],
        None,
    ],
)
async def test_what_is_no_label_changes_nothing(client: Client, desk: Desk, body: Any) -> None:
    owner = await desk.a_user()
    path, me = f"{PATH}/{(await desk.a_license(owner)).license.id}", desk.signed_in(owner)
    before = (await client.get(path, headers=me)).json()
    refused = await client.patch(path, json=body, headers=me)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")
    assert (await client.get(path, headers=me)).json() == before


async def test_too_long_is_counted_in_characters(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    path, me = f"{PATH}/{(await desk.a_license(owner)).license.id}", desk.signed_in(owner)
    (error,) = (await client.patch(path, json={"label": "l" * 81}, headers=me)).json()["errors"]
    assert (error["field"], error["code"], error["params"]) == ("label", "too_long", {"max": 80})


async def test_a_label_is_no_change_that_anything_must_hear_of(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    owner = await desk.a_user()
    path, me = f"{PATH}/{(await desk.a_license(owner)).license.id}", desk.signed_in(owner)
    clock.now += timedelta(minutes=1)
    before, jobs = await rows(database_urls, STANDING), await rows(database_urls, JOBS)
    await client.patch(path, json={"label": "Shop"}, headers=me)
    after = await rows(database_urls, STANDING)
    assert [row["version"] for row in after] == [row["version"] for row in before]
    assert await rows(database_urls, JOBS) == jobs
    assert [row["updated_at"] for row in after] == [clock.now]
    # All other changes are, also together with a label.
    for number, also in enumerate(
        ("fingerprint = 'x'", "label = 'y', max_databases = 3", "label = 'z', license_key_hash = 'h'"), 1
    ):
        await change(database_urls, f"UPDATE licenses SET {also}")
        (row,) = await rows(database_urls, STANDING)
        assert row["version"] == before[0]["version"] + number, also


async def test_neither_is_a_key_that_is_only_sealed_again_or_gets_its_hint(
    desk: Desk, database_urls: DatabaseUrls
) -> None:
    await desk.a_license(await desk.a_user())
    for changed in ("license_key = 'sealed again'", "key_hint = '7Q4K'", "label = 'a', key_hint = 'ABCD'"):
        await change(database_urls, f"UPDATE licenses SET {changed}")
        assert [row["version"] for row in await rows(database_urls, STANDING)] == [1], changed


async def test_the_trail_says_that_it_was_changed_and_not_to_what(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    """The trail cannot forget. The same label again is no change."""
    owner = await desk.a_user()
    path, me = f"{PATH}/{(await desk.a_license(owner)).license.id}", desk.signed_in(owner)
    for label in ("Shop", " Shop", "Shop"):
        await client.patch(path, json={"label": label}, headers=me)
    await client.patch(path, json={}, headers=me)
    entries = await rows(database_urls, "SELECT actor_id, action, detail FROM audit_log")
    assert entries == [{"actor_id": owner, "action": "license.label_changed", "detail": {}}]
    (event,) = (await client.get(f"{path}/events", headers=me)).json()["items"]
    assert (event["action"], event["actor"]) == ("license.label_changed", "owner")


async def test_nobody_names_what_is_anothers(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    license_id = (await desk.a_license(await desk.a_user())).license.id
    for headers in (await desk.a_customer(), await desk.staff()):
        refused = await client.patch(f"{PATH}/{license_id}", json={"label": "mine"}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    await change(database_urls, "UPDATE users SET is_active = false WHERE role = 'customer'")
    (owner,) = await rows(database_urls, "SELECT user_id FROM licenses")
    gone = await client.patch(f"{PATH}/{license_id}", json={"label": "mine"}, headers=desk.signed_in(owner["user_id"]))
    assert gone.status_code == 401
    assert await rows(database_urls, "SELECT label FROM licenses") == [{"label": None}]
    assert await rows(database_urls, "SELECT 1 FROM audit_log") == []


async def test_the_subscription_that_pays_is_named(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    """A living one before one that has ended, then the newest."""
    owner, bob = await desk.a_user(), await desk.a_user()
    license_, others = (await desk.a_license(owner)).license, (await desk.a_license(bob)).license

    async def subscribed(to: License, stripe_id: str, status: SubscriptionStatus, day: int) -> str:
        made = {"plans": {"id": STARTER_PLAN}, "licenses": {"id": to.id}}
        row = a_row(Subscription.__table__, to.user_id, made)  # type: ignore[arg-type]  # a table, for mypy a clause
        created_at = clock.now - timedelta(days=100 - day)
        told = {"stripe_subscription_id": stripe_id, "status": status, "created_at": created_at}
        async with as_owner(database_urls) as connection:
            await connection.execute(insert(Subscription).values(row | told))
            await connection.execute(insert(LicenseSubscription).values(a_link(row)))
        return str(row["id"])

    async def seen() -> set[str | None]:
        mine = (await client.get(f"{PATH}/{license_.id}", headers=desk.signed_in(owner))).json()
        staffs = await client.get(f"/api/v1/admin/licenses/{license_.id}", headers=await desk.staff())
        (listed,) = (await client.get(PATH, headers=desk.signed_in(owner))).json()["items"]
        return {shown["subscription_id"] for shown in (mine, staffs.json(), listed)}

    assert await seen() == {None}
    await subscribed(others, "sub_other", SubscriptionStatus.ACTIVE, 9)
    ended = await subscribed(license_, "sub_1", SubscriptionStatus.CANCELLED, 3)
    assert await seen() == {ended}
    lives = await subscribed(license_, "sub_2", SubscriptionStatus.PAST_DUE, 1)
    assert await seen() == {lives}
    newer = await subscribed(license_, "sub_3", SubscriptionStatus.ACTIVE, 2)
    assert await seen() == {newer}
