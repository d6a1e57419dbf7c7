"""A customer's licenses: visible to the owner, and to no other customer."""

from datetime import timedelta

import pytest
from redis.asyncio import Redis
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError

from billing_api.access.permissions import Principal
from billing_api.licensing.licenses.service import LicenseService
from billing_api.licensing.licenses.usage_view import HELD_WITHIN
from billing_api.server.wiring.infrastructure import Infrastructure
from core.clock import unix_time
from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.hotstore.snapshot import reserve_keys
from core.hotstore.writer import Writer
from core.ids import new_id
from core.licensing.plan import RESOURCES
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from core.settings import ApiSettings
from db.models.identity import Role
from db.models.licensing import License, LicenseType
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/licenses"


async def test_a_license_is_shown_with_its_plans_limits(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner, LicenseType.STARTER)
    answer = await client.get(f"{PATH}/{issued.license.id}", headers=desk.signed_in(owner))
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["plan"], shown["license_type"], shown["status"]) == ("Starter", "starter", "active")
    limits = {name: shown[f"max_{name}"] for name in ("accounts", "domains", "databases", "emails", "storage_gb")}
    assert limits == {"accounts": 1, "domains": 3, "databases": 5, "emails": 10, "storage_gb": 10}
    assert issued.key not in answer.text
    assert shown["key_hint"] == f"…{issued.key[-4:]}"


async def test_unlimited_is_null(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner, LicenseType.ENTERPRISE)
    shown = (await client.get(f"{PATH}/{issued.license.id}", headers=desk.signed_in(owner))).json()
    assert shown["max_databases"] is None
    assert shown["max_storage_gb"] == 1024


async def test_another_customers_license_does_not_exist(client: Client, desk: Desk) -> None:
    issued = await desk.a_license(await desk.a_user())
    stranger = await desk.a_customer()
    for method, path in (("GET", ""), ("POST", "/reveal-key"), ("GET", "/usage")):
        answer = await client.request(method, f"{PATH}/{issued.license.id}{path}", headers=stranger)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    empty = {"items": [], "total": 0, "limit": 20, "offset": 0, "next_cursor": None}
    assert (await client.get(PATH, headers=stranger)).json() == empty


async def test_lists_are_pages_of_a_stable_order(client: Client, desk: Desk) -> None:
    owner = await desk.a_user()
    made = [str((await desk.a_license(owner)).license.id) for _ in range(5)]
    me = desk.signed_in(owner)
    pages = [(await client.get(f"{PATH}?limit=2&offset={offset}", headers=me)).json() for offset in (0, 2, 4)]
    assert [item["id"] for page in pages for item in page["items"]] == made[::-1]
    assert {page["total"] for page in pages} == {5}
    for query in ("limit=0", "limit=101", "limit=x", "offset=-1", "status=gone"):
        refused = await client.get(f"{PATH}?{query}", headers=me)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input"), query


async def test_an_expired_license_is_shown_as_expired_without_any_job(
    client: Client, desk: Desk, clock: FakeTime
) -> None:
    admin, email = await desk.staff(), f"{new_id().hex}@example.com"
    owner = await desk.a_user(email=email)
    soon = (clock.now + timedelta(days=1)).isoformat()
    order = {"email": email, "plan": "starter", "expiry_date": soon}
    assert (await client.post("/api/v1/admin/licenses", json=order, headers=admin)).status_code == 201
    assert (await client.get(PATH, headers=desk.signed_in(owner))).json()["items"][0]["status"] == "active"
    clock.now += timedelta(days=1)
    assert (await client.get(PATH, headers=desk.signed_in(owner))).json()["items"][0]["status"] == "expired"


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(
    ("expiry", "grace"), [(None, None), (1, None), (-1, None), (0, None), (-2, 1), (-2, -1), (1, -1), (None, -1)]
)
async def test_lists_are_filtered_by_the_status_they_show(
    client: Client, desk: Desk, clock: FakeTime, status: Status, expiry: int | None, grace: int | None
) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    ends = {"expiry_date": expiry, "grace_until": grace}
    instants = {name: None if days is None else clock.now + timedelta(days=days) for name, days in ends.items()}
    async with desk.database.as_system() as tx:
        mine = update(License).where(License.id == issued.license.id)
        await tx.session.execute(mine.values(status=status, **instants))
    me = desk.signed_in(owner)
    shown = (await client.get(f"{PATH}/{issued.license.id}", headers=me)).json()["status"]
    for asked in Status:
        assert (await client.get(f"{PATH}?status={asked}", headers=me)).json()["total"] == (asked == shown), asked


async def test_holds_are_shown_where_redis_can_tell(
    desk: Desk, infrastructure: Infrastructure, settings: ApiSettings, clock: FakeTime, valkey: str
) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    principal = Principal(owner, Role.CUSTOMER, new_id(), clock.now)
    async with Redis.from_url(valkey) as redis:
        licenses = LicenseService(
            desk.database, infrastructure.reads, settings.secrets, clock, Reader(HotStoreClient(redis))
        )

        async def held() -> dict[str, int | None]:
            resources = (await licenses.usage(principal, issued.license.id)).resources
            return {name: resource.held for name, resource in resources.items()}

        unknown = dict.fromkeys(RESOURCES, None)
        assert await held() == unknown  # no functions
        writer = Writer(HotStoreClient(redis))
        await writer.load_functions()
        assert await held() == unknown  # not loaded
        for bucket, token in (await writer.begin_rebuild(range(keys.BUCKETS), holds_lost=False)).items():
            assert await writer.mark_loaded(bucket, token)
        assert await held() == dict.fromkeys(RESOURCES, 0)
        await a_hold(writer, issued.license)
        assert await held() == dict.fromkeys(RESOURCES, 0) | {"domains": 2}
        await redis.client_pause(int(10_000 * HELD_WITHIN))
        assert await held() == unknown  # no answer in time
        await redis.client_unpause()  # waits for the end of the pause as every command does
        assert (await held())["domains"] == 2


async def a_hold(writer: Writer, license_: License) -> None:
    """Two domains, as the validator holds them."""
    record = LicenseRecord(epoch=1, version=1, license_id=license_.id, status=Status.ACTIVE, limits={"domains": 3})
    await writer.apply_licenses([(license_.license_key_hash, record)])
    names = reserve_keys(keys.short_hash(license_.license_key_hash))
    run_id = (await writer.holds_made()).run_id[: keys.RUN_ID_LENGTH]
    await writer.publish_synced(1, now := unix_time())
    args = ("domains", 2, 30_000, "hold-1", 1, 1, run_id, int(now * 1000))
    [answer] = await writer._call_all([(functions.RESERVE, len(names), *names, *args)])
    assert answer[0] == b"granted", answer


async def test_the_key_is_revealed_shortly_after_a_login_and_not_later(
    client: Client, desk: Desk, clock: FakeTime
) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    me = desk.signed_in(owner)
    path = f"{PATH}/{issued.license.id}/reveal-key"
    answer = await client.post(path, headers=me)
    assert (answer.status_code, answer.json()) == (200, {"license_key": issued.key})
    assert answer.headers["cache-control"] == "no-store"
    clock.now += timedelta(minutes=5, seconds=1)
    late = await client.post(path, headers=me)
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


async def test_without_a_login_nothing_is_shown(client: Client) -> None:
    for path in (PATH, f"{PATH}/{new_id()}", f"{PATH}/{new_id()}/usage"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_an_id_that_is_no_uuid_is_not_found(client: Client, desk: Desk) -> None:
    me = await desk.a_customer()
    for bad in ("1", "not-a-uuid", "'; DROP TABLE licenses;--"):
        answer = await client.get(f"{PATH}/{bad}", headers=me)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_rotated_key_is_another_one_for_the_same_license(
    client: Client, desk: Desk, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    owner = await desk.a_user()
    issued = await desk.a_license(owner)
    me, path = desk.signed_in(owner), f"{PATH}/{issued.license.id}"
    once = me | {"Idempotency-Key": "r-1"}
    first = await client.post(f"{path}/rotate-key", headers=once)
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == "no-store"
    new = first.json()["license_key"]
    assert new != issued.key
    assert (await client.get(path, headers=me)).json()["key_hint"] == f"…{new[-4:]}"
    again = await client.post(f"{path}/rotate-key", headers=once)
    assert (again.json(), again.headers["idempotency-replayed"]) == ({"license_key": new}, "true")
    assert (await client.post(f"{path}/reveal-key", headers=me)).json() == {"license_key": new}
    admin = await desk.staff()
    found = [
        (await client.post("/api/v1/admin/licenses/find-by-key", headers=admin, json={"license_key": key})).status_code
        for key in (issued.key, new)
    ]
    assert found == [404, 200]
    jobs = await rows(database_urls, "SELECT job FROM outbox WHERE job ? 'retired_hash'")
    assert [job["job"]["retired_hash"] for job in jobs] == [issued.license.license_key_hash.hex()]
    trail = await rows(database_urls, "SELECT action FROM audit_log WHERE action LIKE '%rotated'")
    assert trail == [{"action": "license.key_rotated"}]
    clock.now += timedelta(minutes=5, seconds=1)
    late = await client.post(f"{path}/rotate-key", headers=me)
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")
    stranger = await client.post(f"{path}/rotate-key", headers=await desk.a_customer())
    assert stranger.status_code == 404


async def test_a_hint_that_nobody_knows_yet_is_null(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    issued = await desk.a_license(await desk.a_user())
    await change(database_urls, "UPDATE licenses SET key_hint = NULL")
    shown = (await client.get(f"/api/v1/admin/licenses/{issued.license.id}", headers=await desk.staff())).json()
    assert shown["key_hint"] is None


async def test_no_more_of_a_key_than_its_hint_is_ever_stored(desk: Desk, database_urls: DatabaseUrls) -> None:
    issued = await desk.a_license(await desk.a_user())
    for more in (issued.key, issued.key[-5:]):
        with pytest.raises(DBAPIError, match="too long"):
            await change(database_urls, "UPDATE licenses SET key_hint = :more", more=more)
