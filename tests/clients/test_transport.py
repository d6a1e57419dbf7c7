"""What a call makes of the world: an answer, "it cannot be reached", or "the call is wrong"; never one for another."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from nextpanel_billing_client import BillingClient, Refused, Unreachable
from nextpanel_billing_client.leases import _name

from core.clock import unix_time
from core.crypto.lease import JwkSet, LeaseSigner
from core.licensing import lease as rules
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from devstack.ports import choose
from tests.clients.scripted import ScriptedServer, Step, refuses, says

KEY: Final = "NP-AAAA-BBBB-CCCC"
SECRET: Final = "the client's own secret"
YES: Final = {
    "valid": True,
    "remaining_quota": 5,
    "code": "VALID",
    "as_of": "2026-01-01T00:00:00.000Z",
    "stale": False,
    "request_id": "r1",
}
NO_LEASE: Final = refuses(503, "not_ready")


def a_client(url: str, store: Path, **more: Any) -> BillingClient:
    facts = {"validator_url": url, "billing_url": url, "key_id": "k1", "secret": SECRET, "store": store}
    return BillingClient(**{**facts, **more})


@pytest.fixture
async def client(server: ScriptedServer, store: Path) -> AsyncIterator[BillingClient]:
    async with a_client(server.url, store) as client:
        yield client


def questions(server: ScriptedServer) -> list[Any]:
    """What was asked about licenses; leases are fetched besides."""
    return [asked for asked in server.asked if asked.target.endswith(("/validate-license", "/validate-licenses"))]


async def test_a_reserve_whose_hold_has_ended_meanwhile_is_made_anew(
    client: BillingClient, server: ScriptedServer
) -> None:
    """The first attempt had its effect and its answer was lost: the next one comes when that hold is over."""
    granted = {"granted": True, "reservation_id": "r-2", "remaining_quota": 1}
    server.script = [Step(cut=True), refuses(409, "reservation_ended"), says(granted), says({"released": True})]
    with pytest.raises(ZeroDivisionError):
        async with client.reserve(KEY, "databases") as hold:
            raise ZeroDivisionError
    assert hold.reservation_id == "r-2"
    first, again, anew, _ = server.asked
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] != anew.headers["idempotency-key"]


async def test_a_verdict_is_told_as_it_came(client: BillingClient, server: ScriptedServer) -> None:
    server.script = [says(YES), NO_LEASE]
    verdict = await client.validate(KEY, "create_database", fingerprint="here")
    assert (verdict.valid, verdict.code, verdict.remaining_quota, verdict.offline) == (True, "VALID", 5, False)
    assert verdict.as_of == datetime(2026, 1, 1, tzinfo=UTC)
    (asked,) = questions(server)
    assert asked.content == {"license_key": KEY, "feature": "create_database", "fingerprint": "here"}
    assert asked.headers["np-signature"].startswith("k=k1,t=")


async def test_no_is_an_answer(client: BillingClient, server: ScriptedServer) -> None:
    server.script = [says(YES | {"valid": False, "remaining_quota": 0, "code": "SUSPENDED"})]
    verdict = await client.validate(KEY, "backups")
    assert (verdict.valid, verdict.code) == (False, "SUSPENDED")
    assert len(server.asked) == 1


@pytest.mark.parametrize("first", [refuses(503, "not_ready"), refuses(500, "internal_error"), Step(cut=True)])
async def test_a_stumble_is_tried_again(client: BillingClient, server: ScriptedServer, first: Step) -> None:
    server.script = [first, says(YES), NO_LEASE]
    assert (await client.validate(KEY, "backups")).valid
    one, other = questions(server)
    assert one.headers["np-signature"] != other.headers["np-signature"]  # signed anew, its time is part of it


async def test_a_pause_that_is_asked_for_is_made(client: BillingClient, server: ScriptedServer) -> None:
    server.script = [refuses(429, "too_many_requests", Retry_After="1"), says(YES), NO_LEASE]
    began = time.monotonic()
    assert (await client.validate(KEY, "backups")).valid
    assert time.monotonic() - began >= 1


async def test_nobody_waits_longer_than_his_patience(server: ScriptedServer, store: Path) -> None:
    server.script = [refuses(503, "not_ready", Retry_After="60")]
    async with a_client(server.url, store, patience=1) as client:
        began = time.monotonic()
        with pytest.raises(Unreachable) as failure:
            await client.validate(KEY, "backups")
        assert time.monotonic() - began < 0.9
        assert failure.value.retry_after == 60
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "step",
    [
        refuses(503, "not_ready"),
        Step(cut=True),
        Step(200, b"<html>Please sign in to the hotel's network</html>", {"Content-Type": "text/html"}),
        Step(302, b"", {"Location": "http://127.0.0.1:1/sign-in"}),
        Step(404, b"<html>no such page</html>", {"Content-Type": "text/html"}),
        Step(403, b"blocked", {"Content-Type": "application/problem+json"}),
        says([1, 2, 3]),
        says({"valid": False}),
        says({"status": "ok"}),
        Step(body=b'{"valid": false, "code": "SUSPENDED", "remaining_quota": 0}', trickle=True),
    ],
    ids=lambda step: f"{step.status} {step.body[:20]!r}",
)
async def test_unreachable_is_never_invalid(server: ScriptedServer, store: Path, step: Step) -> None:
    server.script = [step]
    async with a_client(server.url, store, patience=0.5) as client:
        with pytest.raises(Unreachable):
            await client.validate(KEY, "backups")


async def test_nobody_is_followed_elsewhere(server: ScriptedServer, store: Path) -> None:
    elsewhere = Step(307, b"", {"Location": f"{server.url}/elsewhere"})
    server.script = [elsewhere, says(YES)]
    async with a_client(server.url, store, attempts=1) as client:
        with pytest.raises(Unreachable, match="HTTP 307 with an answer that is not the service's"):
            await client.validate(KEY, "backups")


@pytest.mark.parametrize(("heard", "kept"), [("VALID", True), ("SUSPENDED", False)])
async def test_a_refusal_overtakes_a_lease(server: ScriptedServer, store: Path, heard: str, kept: bool) -> None:
    """The lease was asked for while the license stood, and arrives after the service has said that it does not."""
    signer = LeaseSigner({"k1": bytes(32)})
    record = LicenseRecord(
        epoch=1, version=1, limits={}, license_id=UUID(int=1), status=Status.ACTIVE, features={"backups": True}
    )
    token = signer.sign(rules.encode(rules.draft(record, now=unix_time())))
    lease = says({"lease": token, "code": "VALID"})._replace(after=0.3)
    published = says(msgspec.to_builtins(JwkSet.of(signer.public_keys)))
    server.script = [lease, says(YES | {"valid": kept, "code": heard}), published]
    client = a_client(server.url, store, patience=1)
    client._leases._due_at[_name(KEY)] = float("inf")  # it fetches nothing by itself here
    fetching = asyncio.create_task(client.fetch_lease(KEY))
    while not server.asked:  # noqa: ASYNC110  the server tells by its list alone
        await asyncio.sleep(0.01)
    assert (await client.validate(KEY, "backups")).valid is kept
    assert await fetching is kept
    server.script = [refuses(503, "not_ready")]
    if kept:
        assert (await client.validate(KEY, "backups")).offline
    else:
        with pytest.raises(Unreachable):
            await client.validate(KEY, "backups")
    await client.aclose()


async def test_nobody_listens(store: Path) -> None:
    async with a_client(f"http://127.0.0.1:{choose('127.0.0.1')}", store) as client:
        with pytest.raises(Unreachable, match="ConnectError"):
            await client.validate(KEY, "backups")


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_signature"), (403, "permission_missing"), (400, "x")])
async def test_a_wrong_call_is_not_repeated(
    client: BillingClient, server: ScriptedServer, status: int, code: str
) -> None:
    server.script = [refuses(status, code)]
    with pytest.raises(Refused) as refusal:
        await client.validate(KEY, "backups")
    assert (refusal.value.status, refusal.value.code) == (status, code)
    assert len(server.asked) == 1


async def test_no_secret_is_told_to_anybody(
    server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    async with a_client(server.url, store, patience=0.3) as client:
        for step in (says(YES), refuses(401, "invalid_signature"), refuses(503, "not_ready")):
            server.script = [step]
            try:
                told.append(repr(await client.validate(KEY, "backups", fingerprint="a fingerprint")))
            except (Refused, Unreachable) as failure:
                told.append(repr(failure))
        server.script = [refuses(404, "not_found")]
        await client.report(KEY, "databases", "created", 1)
        await client.deliver_reports()
        told += [repr(await client.refused_reports()), repr(client)]
    told += [record.getMessage() for record in caplog.records]
    for secret in (KEY, SECRET, "a fingerprint", "v1="):
        assert not any(secret in text for text in told)
    assert len(told) > 5
