"""What was created is counted once and never granted twice: the client and the service through crashes and silences."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from nextpanel_billing_client import BillingClient, BillingError, Declined, Refused, Unreachable
from nextpanel_billing_client.store import CLAIM_SECONDS, Store
from redis.asyncio import Redis

from core.settings import process_environment
from db.models.licensing import LicenseType
from tests.clients.service import KEY_ID, SECRET, Service, eventually
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import ROOT

MANY: Final = 1_200


@pytest.fixture
async def key(desk: Desk, service: Service, store: Path) -> str:
    """Of a license for 1 account, 3 domains and 5 databases that the validator knows. Nobody has used anything yet."""
    await change(service.urls, "DELETE FROM usage_events")
    await change(service.urls, "DELETE FROM license_usage")
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    async with service.client(store) as billing:

        async def is_known() -> bool:
            return (await billing.validate(issued.key, "backups")).valid

        await eventually(is_known)
    return issued.key


def queue(store: Path, *reports: dict[str, Any]) -> None:
    """As a client that could not deliver for a long time has left them behind."""
    left_behind = Store(store)
    left_behind._run("BEGIN")
    for number, report in enumerate(reports):
        left_behind.add_report(f"queued-{number}", json.dumps(report))
    left_behind._run("COMMIT")
    left_behind.close()


def created(key: str, resource: str = "emails", **changes: Any) -> dict[str, Any]:
    return {"license_key": key, "resource": resource, "action": "created", "count": 1, **changes}


async def total(service: Service, resource: str = "emails") -> list[dict[str, Any]]:
    return await rows(service.urls, "SELECT used, events FROM license_usage WHERE resource = :of", of=resource)


async def test_a_long_queue_is_counted_once_and_in_order(service: Service, store: Path, key: str) -> None:
    sizes = [created(key, "storage_gb", action="set", count=number % 50) for number in range(MANY)]
    queue(store, *sizes)
    client = service.client(store)
    assert await client.deliver_reports() == MANY
    assert await total(service, "storage_gb") == [{"used": (MANY - 1) % 50, "events": MANY}]
    events = await rows(service.urls, "SELECT count FROM usage_events WHERE resource = 'storage_gb' ORDER BY seq")
    assert [event["count"] for event in events] == [size["count"] for size in sizes]
    await client.aclose()


async def test_what_the_service_will_never_take_is_set_aside(service: Service, store: Path, key: str) -> None:
    wrong = [
        created("NP-0000-0000-0000"),
        created(key, count=-1),
        created(key, "unicorns"),
        created(key, occurred_at="1999-12-31T23:59:59+00:00"),
    ]
    queue(store, created(key), *wrong, created(key))
    client = service.client(store)
    assert await client.deliver_reports() == 2
    assert await total(service) == [{"used": 2, "events": 2}]
    reasons = [refused.reason for refused in await client.refused_reports()]
    assert [reason.split(":")[0] for reason in reasons] == ["not_found", *["invalid_input"] * 3]
    for reason, field in zip(reasons[1:], ("count", "resource", "occurred_at"), strict=True):
        assert field in reason
    assert await client.waiting_reports() == 0
    await client.aclose()


async def test_a_process_killed_between_the_answer_and_crossing_it_out(service: Service, store: Path, key: str) -> None:
    queue(store, *(created(key) for _ in range(50)))
    code = f"""
import asyncio, os, signal
from pathlib import Path
from nextpanel_billing_client import BillingClient
from nextpanel_billing_client.store import Store
Store.delivered = lambda self, reports: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(BillingClient(validator_url={service.url("validator")!r}, billing_url={service.url("billing_api")!r},
                          key_id={KEY_ID!r}, secret={SECRET!r}, store=Path({str(store)!r})).deliver_reports())
"""
    env = process_environment() | {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    killed = await asyncio.to_thread(subprocess.run, (sys.executable, "-c", code), env=env, check=False, timeout=60)
    assert killed.returncode == -9
    assert await total(service) == [{"used": 50, "events": 50}]
    time_passes = Store(store)
    time_passes._run("UPDATE reports SET claimed_at = claimed_at - ?", CLAIM_SECONDS + 1)
    time_passes.close()
    client = service.client(store)
    assert await client.waiting_reports() == 50
    assert await client.deliver_reports() == 50
    assert await client.waiting_reports() == 0
    assert await total(service) == [{"used": 50, "events": 50}]
    await client.aclose()


async def test_a_panel_killed_between_its_activation_and_storing_it(service: Service, desk: Desk, store: Path) -> None:
    """The token is spent, and its secret was seen by nobody. The same words bring the same answer."""
    user = await desk.a_user()
    issued = await desk.a_license(user, LicenseType.STARTER)
    async with httpx.AsyncClient(base_url=service.url("billing_api"), headers=desk.signed_in(user)) as owner:
        made = await owner.post(f"/api/v1/licenses/{issued.license.id}/activation-tokens")
    token = made.json()["activation_token"]
    code = f"""
import asyncio, os, signal
from pathlib import Path
from nextpanel_billing_client import BillingClient
from nextpanel_billing_client.api_key import ApiKeys
ApiKeys.keep = lambda self, activated: os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(BillingClient(validator_url={service.url("validator")!r}, billing_url={service.url("billing_api")!r},
                          store=Path({str(store)!r})).activate({issued.key!r}, {token!r}, fingerprint="machine-1"))
"""
    env = process_environment() | {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    killed = await asyncio.to_thread(subprocess.run, (sys.executable, "-c", code), env=env, check=False, timeout=60)
    assert killed.returncode == -9
    urls: dict[str, Any] = {"validator_url": service.url("validator"), "billing_url": service.url("billing_api")}
    async with BillingClient(**urls, store=store) as panel:
        assert await panel.activation() is None
        activation = await panel.activate(issued.key, token, fingerprint="machine-1")
        assert activation.license_id == str(issued.license.id)
        verdict = await panel.validate(issued.key, "backups", fingerprint="machine-1")  # known from the first moment
        assert (verdict.valid, verdict.as_of is not None and verdict.as_of.tzinfo) == (True, UTC)
        await panel.report(issued.key, "emails", "created", 1)
        await eventually(lambda: nothing_waits(panel))
    keys = await rows(service.urls, "SELECT key_id FROM api_keys WHERE license_id = :of", of=issued.license.id)
    assert keys == [{"key_id": activation.key_id}]
    async with BillingClient(**urls, store=store.with_name("other.db")) as other:
        with pytest.raises(Refused, match="activation_refused"):
            await other.activate(issued.key, token, fingerprint="machine-2")


async def test_the_service_goes_and_comes_back(service: Service, store: Path, key: str) -> None:
    queue(store, *(created(key) for _ in range(50)))
    client = service.client(store)
    service.stop("billing_api")
    try:
        with pytest.raises(Unreachable):
            await client.deliver_reports()
        assert await client.waiting_reports() == 50
    finally:
        service.start("billing_api")
    assert await client.deliver_reports() == 50
    assert await total(service) == [{"used": 50, "events": 50}]
    await client.aclose()


async def outcome(billing: BillingClient, key: str) -> str:
    """Of asking for all five databases: "granted", the code of a refusal, or what nobody can tell."""
    try:
        async with billing.reserve(key, "databases", 5, ttl=1):
            return "granted"
    except Declined as refusal:
        return refusal.code
    except BillingError as failure:
        return type(failure).__name__


async def test_a_report_without_its_pin_and_without_a_worker_is_not_granted_again(
    service: Service, store: Path, key: str
) -> None:
    """Redis takes no writes while the report is recorded, its hold runs out, and nobody projects the new total."""
    async with service.client(store, patience=0.5) as billing, Redis.from_url(service.redis_url) as redis:
        service.stop("workers")
        try:
            async with billing.reserve(key, "databases", 5, ttl=2):
                await redis.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
            await eventually(lambda: nothing_waits(billing))
            await redis.execute_command("CLIENT", "UNPAUSE")
            assert await total(service, "databases") == [{"used": 5, "events": 1}]

            async def has_run_out() -> bool:
                return (await billing.validate(key, "create_database")).remaining_quota == 5

            await eventually(has_run_out)
            assert await outcome(billing, key) == "Unreachable"
        finally:
            service.start("workers")

        async def is_known() -> bool:
            told = await outcome(billing, key)
            assert told in {"Unreachable", "QUOTA_EXCEEDED"}
            return told == "QUOTA_EXCEEDED"

        await eventually(is_known)


async def nothing_waits(billing: BillingClient) -> bool:
    return await billing.waiting_reports() == 0
