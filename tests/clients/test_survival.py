"""The client outlives faults of its own machine and of strangers: a locked or damaged store, answers nobody foresaw."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from nextpanel_billing_client import BillingClient, Question, StoreUnusable, Unreachable
from nextpanel_billing_client.leases import _name
from nextpanel_billing_client.store import Store
from nextpanel_billing_client.transport import seconds_until

from core.clock import unix_time
from core.crypto.lease import JwkSet, LeaseSigner
from core.licensing import lease as rules
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from tests.clients.scripted import ScriptedServer, Step, refuses, says
from tests.clients.service import eventually
from tests.clients.test_reports import KEY, NOWHERE, RECORDED, a_client, all_delivered, counts
from tests.clients.test_transport import YES

NESTED: Final = Step(body=b"[" * 200_000)
PATIENCE: Final = 0.8
SLACK: Final = 1.0
"""A busy machine wakes nobody in time. A locked store would be waited for ten seconds."""
NOW: Final = datetime(2027, 1, 31, 23, 59, 20, tzinfo=UTC)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Another process writes to the file, for as long as it likes."""
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
async def client(server: ScriptedServer, store: Path) -> AsyncIterator[BillingClient]:
    """Its store gives up after a moment, where it usually waits ten seconds."""
    server.script = [RECORDED]
    async with a_client(store, server.url) as client:
        client._store._run("PRAGMA busy_timeout = 20")
        yield client


def asking(store: Path, server: ScriptedServer) -> BillingClient:
    return BillingClient(
        validator_url=server.url, billing_url=NOWHERE, key_id="k1", secret="s", store=store, patience=PATIENCE
    )


def leased(store: Path) -> None:
    """A lease for backups and any number of databases lies in the store."""
    signer = LeaseSigner({"k1": bytes(32)})
    record = LicenseRecord(
        epoch=1, version=1, limits={}, license_id=UUID(int=1), status=Status.ACTIVE, features={"backups": True}
    )
    opened = Store(store)
    opened.keep_lease(_name(KEY), signer.sign(rules.encode(rules.draft(record, now=unix_time()))))
    opened.keep_fact("jwks", msgspec.json.encode(JwkSet.of(signer.public_keys)).decode())
    opened.close()


async def until_told(caplog: pytest.LogCaptureFixture, words: str) -> None:
    async def told() -> bool:
        return words in caplog.text

    await eventually(told)


async def test_reports_are_delivered_after_the_store_was_locked(
    client: BillingClient, server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with locked(store):
        client._reports.wake()
        await until_told(caplog, f"usage reports wait: the store {store} cannot be used: database is locked; another")
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    await until_told(caplog, "usage reports are delivered again")
    assert counts(server.asked) == [1]
    assert caplog.text.count("is locked") == 1


async def test_reports_are_delivered_after_an_answer_that_is_nested_too_deeply(
    client: BillingClient, server: ScriptedServer
) -> None:
    server.script = [NESTED, RECORDED]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert len(server.asked) == 2


async def test_an_answer_that_does_not_end_is_nobody_s(
    client: BillingClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [Step(body=b" " * (17 * 1024 * 1024)), RECORDED]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert "with an answer that is too long" in caplog.text


@pytest.mark.parametrize("spoilt", ["{", "[]", "\0", "[" * 200_000])
async def test_a_spoilt_report_is_set_aside_and_keeps_back_nobody(
    client: BillingClient, server: ScriptedServer, spoilt: str
) -> None:
    client._store.add_report("spoilt", spoilt)
    await client.report(KEY, "databases", "created", 2)
    await all_delivered(client)
    assert counts(server.asked) == [2]
    (refused,) = await client.refused_reports()
    assert (refused.idempotency_key, refused.reason) == ("spoilt", "unreadable: this is no report any more")


async def test_nothing_that_a_round_raises_ends_the_delivery(
    client: BillingClient, server: ScriptedServer, store: Path
) -> None:
    """Whatever it is: here the tables are gone for a while."""
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("ALTER TABLE reports RENAME TO hidden")
    client._reports.wake()
    await asyncio.sleep(0)
    assert client._delivery is not None
    with pytest.raises(StoreUnusable, match="no such table: reports"):
        await client.deliver_reports()
    other.execute("ALTER TABLE hidden RENAME TO reports")
    other.close()
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert not client._delivery.done()


async def test_a_delivery_that_ends_nevertheless_is_told(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Ends(BaseException):
        pass

    async with a_client(store) as client:

        def clear() -> None:
            raise Ends

        client._reports._rung.clear = clear  # type: ignore[method-assign]
        client._reports.wake()
        await until_told(caplog, "usage reports are no longer delivered: Ends")


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ("0", 0),
        ("120", 120),
        ("86400", 3600),
        ("9" * 400, 3600),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW + timedelta(days=90), usegmt=True), 3600),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("Mon, 01 Feb 2027 00:00:20 -0000", 60),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        ("Mon, 99 Feb 2027 00:00:20 GMT", None),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("", None),
        (None, None),
    ],
)
def test_a_pause_is_read_in_seconds_or_as_a_date_and_is_an_hour_at_most(asked: str | None, pause: float | None) -> None:
    assert seconds_until(asked, NOW.timestamp()) == pause


async def test_a_lease_answers_while_another_process_writes_to_the_store(server: ScriptedServer, store: Path) -> None:
    leased(store)
    server.script = [refuses(503, "not_ready")]
    async with asking(store, server) as client:
        with locked(store):
            many = [client.report(KEY, "databases", "created", 1) for _ in range(64)]  # more than there are threads
            adding = asyncio.gather(*many)
            await asyncio.sleep(0)
            began = time.monotonic()
            assert (await client.validate(KEY, "backups")).offline
            (verdict,) = await client.validate_many([Question(KEY, "backups")])
            assert verdict.offline
            assert time.monotonic() - began < 2 * PATIENCE + SLACK
            assert not adding.done()
        await adding


async def test_a_store_that_cannot_be_read_is_no_answer_and_no_error_of_its_own(
    server: ScriptedServer, store: Path
) -> None:
    leased(store)
    server.script = [refuses(503, "not_ready")]
    async with asking(store, server) as client:
        for damage in (
            "UPDATE facts SET value = '{' WHERE name = 'jwks'",
            "UPDATE facts SET value = 'yesterday' WHERE name = 'last_seen'",
            "UPDATE leases SET token = x'ff00'",
            "DROP TABLE facts",
            "DROP TABLE leases",
        ):
            client._store._run(damage)
            began = time.monotonic()
            with pytest.raises(Unreachable, match="HTTP 503"):
                await client.validate(KEY, "backups")
            assert time.monotonic() - began < PATIENCE + SLACK


@pytest.mark.parametrize("step", [Step(after=5), Step(body=b" " * 100, trickle=True), NESTED])
async def test_nobody_waits_longer_than_the_patience(server: ScriptedServer, store: Path, step: Step) -> None:
    server.script = [step]
    async with asking(store, server) as client:
        with locked(store):
            began = time.monotonic()
            with pytest.raises(Unreachable):
                await client.validate(KEY, "backups")
            assert time.monotonic() - began < PATIENCE + SLACK


async def test_a_refusal_stays_heard_though_the_lease_cannot_be_deleted(
    server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leased(store)
    suspended: dict[str, Any] = YES | {"valid": False, "remaining_quota": 0, "code": "SUSPENDED"}
    server.script = [says(suspended), refuses(503, "not_ready")]
    async with asking(store, server) as client:
        client._store._run("PRAGMA busy_timeout = 20")
        with locked(store):
            began = time.monotonic()
            assert (await client.validate(KEY, "backups")).code == "SUSPENDED"
            assert time.monotonic() - began < PATIENCE + SLACK
            with pytest.raises(Unreachable):
                await client.validate(KEY, "backups")
        assert f"a lease was not deleted: the store {store} cannot be used: database is locked" in caplog.text
        server.script = [says(suspended)]
        await client.validate("NP-2222-2222-2222", "backups")  # the next refusal takes it along
    kept = Store(store)
    assert kept.lease(_name(KEY)) is None
    kept.close()


async def test_a_fetch_that_fails_at_the_store_is_told(
    server: ScriptedServer, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs in the background, so nobody else would hear of it."""
    caplog.set_level(logging.WARNING)
    server.script = [says(YES), says({"lease": "a.b.c", "code": "VALID"})]
    async with asking(store, server) as client:
        client._store._run("DROP TABLE facts")
        assert (await client.validate(KEY, "backups")).valid
        await until_told(caplog, f"no lease for now: the store {store} cannot be used: no such table: facts")


async def test_a_key_has_one_lease_however_it_is_written(server: ScriptedServer, store: Path) -> None:
    leased(store)
    server.script = [refuses(503, "not_ready")]
    async with asking(store, server) as client:
        assert (await client.validate(KEY.replace("-", "\u2013") + "\u200b", "backups")).offline


@pytest.mark.parametrize(
    "answer",
    [
        YES | {"code": ["VALID"]},
        YES | {"code": None},
        YES | {"valid": 1},
        YES | {"remaining_quota": "many"},
        YES | {"remaining_quota": float("nan")},
        YES | {"as_of": 5},
        YES | {"as_of": "yesterday"},
        YES | {"as_of": "2026-01-01T00:00:00"},
        YES | {"stale": "no"},
        YES | {"request_id": []},
        {"lease": 1, "code": "VALID"},
        {"lease": "a.b.c", "code": []},
        [YES],
    ],
)
async def test_an_answer_of_another_shape_is_nobody_s(server: ScriptedServer, store: Path, answer: object) -> None:
    server.script = [says(answer)]
    async with asking(store, server) as client:
        with pytest.raises(Unreachable):
            await client.validate(KEY, "backups")
        with pytest.raises(Unreachable):
            await client.fetch_lease(KEY)


@pytest.mark.parametrize("changes", [{"reservation_id": 5}, {"reservation_id": None}, {"remaining_quota": {}}])
async def test_a_hold_of_another_shape_is_nobody_s(
    server: ScriptedServer, store: Path, changes: dict[str, object]
) -> None:
    granted = {"granted": True, "reservation_id": "r", "remaining_quota": 1, "code": "VALID"}
    server.script = [says(granted | changes)]
    async with asking(store, server) as client:
        with pytest.raises(Unreachable):
            async with client.reserve(KEY, "databases"):
                pytest.fail("nothing is held")


async def test_a_stranger_s_cookie_is_not_kept(client: BillingClient, server: ScriptedServer) -> None:
    portal = Step(302, b"", {"Location": "/welcome", "Set-Cookie": "caf\u00e9=\u00e9"})
    server.script = [portal, RECORDED]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert [asked for asked in server.asked if "cookie" in asked.headers] == []


async def test_a_refusal_that_concludes_nothing_refuses_nothing(client: BillingClient, server: ScriptedServer) -> None:
    problem = {"code": "idempotency_in_progress", "detail": "not yet", "conclusive": False}
    server.script = [says(problem, 409), RECORDED]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert await client.refused_reports() == []


async def test_keys_of_another_shape_are_nobody_s(server: ScriptedServer, store: Path) -> None:
    signer = LeaseSigner({"k1": bytes(32)})
    record = LicenseRecord(epoch=1, version=1, limits={}, license_id=UUID(int=1), status=Status.ACTIVE, features={})
    token = signer.sign(rules.encode(rules.draft(record, now=unix_time())))
    server.script = [says({"lease": token, "code": "VALID"}), says({"keys": ["one"]})]
    async with asking(store, server) as client:
        with pytest.raises(Unreachable):
            await client.fetch_lease(KEY)


async def test_a_reason_that_is_no_utf_8_can_be_read_again(client: BillingClient, server: ScriptedServer) -> None:
    problem = {"code": "bad_input", "detail": "half of a pair: \ud83d", "conclusive": True}
    server.script = [says({"items": [{"success": False, "problem": problem}]})]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    (refused,) = await client.refused_reports()
    assert refused.reason == r"bad_input: half of a pair: \ud83d"


async def test_delivery_goes_on_though_what_it_waited_for_was_cancelled(
    client: BillingClient, server: ScriptedServer
) -> None:
    """By the owner of the HTTP client, say. Nobody has asked the delivery to end."""
    post, cancelled = client._reports._transport.post, asyncio.Event()

    async def post_cancelled(*asked: Any, **more: Any) -> Any:
        if not cancelled.is_set():
            cancelled.set()
            raise asyncio.CancelledError
        return await post(*asked, **more)

    client._reports._transport.post = post_cancelled  # type: ignore[method-assign]
    await client.report(KEY, "databases", "created", 1)
    await cancelled.wait()
    await all_delivered(client)
    assert counts(server.asked) == [1]
