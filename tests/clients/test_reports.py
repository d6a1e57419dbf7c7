"""Usage reports outlive outages, crashes and their own process, keep their order, and count once."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from nextpanel_billing_client import BillingClient, Refused, Unreachable
from nextpanel_billing_client.store import CLAIM_SECONDS, Store

from core.clock import unix_time, utc_now
from core.settings import process_environment
from devstack.ports import choose
from tests.clients.scripted import Asked, ScriptedServer, Step, refuses, says
from tests.clients.service import eventually
from tests.support.servers import ROOT

KEY: Final = "NP-AAAA-BBBB-CCCC"
WELL: Final = {"success": True, "quota_remaining": 4, "overage": False}
NOWHERE: Final = "http://127.0.0.1:1"


def a_client(store: Path, url: str = NOWHERE, **more: Any) -> BillingClient:
    return BillingClient(validator_url=NOWHERE, billing_url=url, key_id="k1", secret="s", store=store, **more)


def a_problem(code: str, *, conclusive: bool) -> dict[str, Any]:
    problem = {"status": 404, "code": code, "detail": f"because of {code}", "conclusive": conclusive, "errors": []}
    return {"success": False, "problem": problem}


def answers(**unless: dict[str, Any]) -> Step:
    """Each item is recorded, unless something else is said of its count: `count_7=a_problem(…)`."""
    return Step(
        made_of=lambda asked: says(
            {"items": [unless.get(f"count_{item['count']}", WELL) for item in asked.content["items"]]}
        )
    )


RECORDED: Final = answers()


def counts(asked: list[Asked]) -> list[int]:
    return [item["count"] for one in asked for item in one.content["items"]]


async def all_delivered(client: BillingClient) -> None:
    async def none_waits() -> bool:
        return await client.waiting_reports() == 0

    await eventually(none_waits)


@pytest.fixture
async def client(server: ScriptedServer, store: Path) -> AsyncIterator[BillingClient]:
    server.script = [RECORDED]
    async with a_client(store, server.url) as client:
        yield client


async def test_a_report_arrives_by_itself(client: BillingClient, server: ScriptedServer) -> None:
    key = await client.report(KEY, "databases", "created", 2, reservation_id="r1")
    await all_delivered(client)
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", "/api/v1/billing/usage")
    (report,) = asked.content["items"]
    occurred_at = datetime.fromisoformat(report.pop("occurred_at"))
    assert abs((utc_now() - occurred_at).total_seconds()) < 60
    assert report == {
        "license_key": KEY, "resource": "databases", "action": "created", "count": 2, "reservation_id": "r1",
        "idempotency_key": key,
    }  # fmt: skip


async def test_what_was_reported_while_nobody_listened(server: ScriptedServer, store: Path) -> None:
    async with a_client(store, f"http://127.0.0.1:{choose('127.0.0.1')}") as away:
        for count in range(5):
            await away.report(KEY, "databases", "set", count)
        with pytest.raises(Unreachable):
            await away.deliver_reports()
        assert await away.waiting_reports() == 5
    server.script = [RECORDED]
    async with a_client(store, server.url) as back:
        await all_delivered(back)
    assert counts(server.asked) == [0, 1, 2, 3, 4]  # a `set` must not overtake another


@pytest.mark.parametrize("when", ["take_reports", "delivered"])
async def test_a_restart_waits_for_no_claim_of_the_process_before(
    server: ScriptedServer, store: Path, when: str
) -> None:
    """It ended while the store was at work, in a thread that cannot be cancelled."""
    server.script = [RECORDED]
    begun, go_on = threading.Event(), threading.Event()
    async with a_client(store, server.url) as client:
        work = getattr(client._store, when)

        def slow(*asked: Any) -> Any:
            done = work(*asked) if when == "take_reports" else None
            begun.set()
            assert go_on.wait(10)
            return done or work(*asked)

        setattr(client._store, when, slow)
        await client.report(KEY, "databases", "created", 1)
        assert await asyncio.to_thread(begun.wait, 10)
        assert client._delivery is not None
        client._delivery.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
    kept = Store(store)
    expected = 1 if when == "take_reports" else 0
    assert (kept.waiting(), len(kept.take_reports(unix_time(), 10))) == (expected, expected)
    kept.close()


async def test_an_answer_that_got_lost_counts_once(client: BillingClient, server: ScriptedServer) -> None:
    server.script = [Step(cut=True), Step(cut=True), RECORDED]
    await client.report(KEY, "databases", "created", 1)
    await all_delivered(client)
    assert len(server.asked) == 3
    assert len({asked.body for asked in server.asked}) == 1


async def test_a_killed_process_loses_none(server: ScriptedServer, store: Path) -> None:
    """It says "written" when `report` has returned, and is killed at once."""
    code = f"""
import asyncio, os, signal
from pathlib import Path
from nextpanel_billing_client import BillingClient
async def main():
    async with BillingClient(validator_url={NOWHERE!r}, billing_url={NOWHERE!r}, key_id="k", secret="s",
                             store=Path({str(store)!r})) as client:
        for count in range(1, 4):
            await client.report({KEY!r}, "databases", "created", count)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    path = str(ROOT / "clients" / "python" / "src")
    env = process_environment() | {"PYTHONPATH": path}
    killed = await asyncio.to_thread(subprocess.run, (sys.executable, "-c", code), env=env, check=False, timeout=60)
    assert killed.returncode == -9
    server.script = [RECORDED]
    client = a_client(store, server.url, clock=lambda: unix_time() + CLAIM_SECONDS + 1)  # its claims have run out
    assert await client.deliver_reports() == 3
    assert counts(server.asked) == [1, 2, 3]
    await client.aclose()


async def test_one_that_is_refused_does_not_keep_back_the_rest(client: BillingClient, server: ScriptedServer) -> None:
    server.script = [answers(count_1=a_problem("not_found", conclusive=True)), RECORDED]
    for count in (1, 2):
        await client.report(KEY, "databases", "created", count)
    await all_delivered(client)
    assert counts(server.asked) == [1, 2]
    (refused,) = await client.refused_reports()
    assert '"count": 1' in refused.body
    assert refused.reason == "not_found: because of not_found"
    await client.retry_refused(refused)
    await all_delivered(client)
    assert await client.refused_reports() == []
    assert server.asked[0].content["items"][0] == server.asked[-1].content["items"][0]


async def test_a_refused_report_is_forgotten_when_somebody_says_so(
    client: BillingClient, server: ScriptedServer
) -> None:
    server.script = [answers(count_1=a_problem("idempotency_mismatch", conclusive=True))]
    await client.report(KEY, "databases", "created", 1)
    (refused,) = await eventually(client.refused_reports)
    await client.forget_refused(refused)
    assert await client.refused_reports() == []
    assert await client.waiting_reports() == 0


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_api_key_refuses_no_report(server: ScriptedServer, store: Path, status: int) -> None:
    server.script = [refuses(status, "not_you"), RECORDED]
    client = a_client(store, server.url)
    await client.report(KEY, "databases", "created", 1)
    with pytest.raises(Refused):
        await client.deliver_reports()
    assert (await client.waiting_reports(), await client.refused_reports()) == (1, [])
    assert await client.deliver_reports() == 1
    await client.aclose()


async def test_several_processes_share_a_file_and_keep_the_order(server: ScriptedServer, store: Path) -> None:
    server.script = [RECORDED]
    clients = [a_client(store, server.url) for _ in range(3)]
    for count in range(30):
        await clients[count % 3].report(KEY, "databases", "set", count)

    async def deliver(client: BillingClient) -> int:
        delivered = 0
        while await client.waiting_reports():
            delivered += await client.deliver_reports()
        return delivered

    assert sum(await asyncio.gather(*(deliver(client) for client in clients))) == 30
    assert counts(server.asked) == list(range(30))
    for client in clients:
        await client.aclose()


async def test_one_key_is_one_report(client: BillingClient, server: ScriptedServer) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    server.script = [refuses(503, "not_ready", Retry_After="60")]
    for _ in range(3):
        key = await client.report(KEY, "databases", "created", 1, occurred_at=when, idempotency_key="mine")
        assert key == "mine"
    assert await client.waiting_reports() == 1
    with pytest.raises(ValueError, match="needs occurred_at"):
        await client.report(KEY, "databases", "created", 1, idempotency_key="mine")


def test_a_claim_ends_with_its_time(store: Path) -> None:
    first, second = Store(store), Store(store)
    first.add_report("k", "{}")
    taken = first.take_reports(1000.0, 10)
    assert len(taken) == 1
    first.add_report("k2", "{}")
    assert second.take_reports(1000.0 + CLAIM_SECONDS, 10) == []  # nor what is behind it: it would overtake
    assert second.take_reports(1001.0 + CLAIM_SECONDS, 1) == taken
    assert first.take_reports(500.0, 1) == taken  # a clock set back does not lock the queue
    first.close()
    second.close()


async def test_a_long_queue_goes_in_lists_of_a_thousand(server: ScriptedServer, store: Path) -> None:
    server.script = [RECORDED]
    filled = Store(store)
    filled._run("BEGIN")
    for count in range(2500):
        report = {"license_key": KEY, "resource": "storage_gb", "action": "set", "count": count}
        filled.add_report(f"r{count}", json.dumps(report))
    filled._run("COMMIT")
    filled.close()
    client = a_client(store, server.url)
    assert await client.deliver_reports() == 2500
    assert [len(asked.content["items"]) for asked in server.asked] == [1000, 1000, 500]
    assert counts(server.asked) == list(range(2500))
    assert await client.waiting_reports() == 0
    await client.aclose()


async def test_what_cannot_be_told_of_one_keeps_it_and_no_other(server: ScriptedServer, store: Path) -> None:
    server.script = [answers(count_1=a_problem("internal", conclusive=False)), refuses(503, "not_ready"), RECORDED]
    client = a_client(store, server.url)
    for count in range(3):
        await client.report(KEY, "databases", "created", count)
    with pytest.raises(Unreachable):
        await client.deliver_reports()
    assert (await client.waiting_reports(), await client.refused_reports()) == (1, [])
    assert await client.deliver_reports() == 1
    assert counts(server.asked) == [0, 1, 2, 1, 1]
    await client.aclose()


async def test_nothing_is_asked_for_ever_that_nobody_can_tell(server: ScriptedServer, store: Path) -> None:
    server.script = [answers(count_1=a_problem("internal", conclusive=False))]
    client = a_client(store, server.url)
    await client.report(KEY, "databases", "created", 1)
    with pytest.raises(Unreachable, match="cannot record usage reports now; waiting: 1"):
        await client.deliver_reports()
    assert len(server.asked) == 1
    assert await client.waiting_reports() == 1
    await client.aclose()


async def test_one_that_spoils_its_list_is_found(server: ScriptedServer, store: Path) -> None:
    """The list is refused as a whole wherever it is in it."""

    def judged(asked: Asked) -> Step:
        spoilt = any(item["count"] == 7 for item in asked.content["items"])
        return refuses(400, "invalid_input") if spoilt else RECORDED

    server.script = [Step(made_of=judged)]
    client = a_client(store, server.url)
    for count in range(12):
        await client.report(KEY, "databases", "set", count)
    assert await client.deliver_reports() == 11
    (refused,) = await client.refused_reports()
    assert '"count": 7' in refused.body
    assert await client.waiting_reports() == 0
    recorded = [one for one in server.asked if all(item["count"] != 7 for item in one.content["items"])]
    assert counts(recorded) == [count for count in range(12) if count != 7]
    await client.aclose()


@pytest.mark.parametrize("content", [{}, {"items": []}, {"items": [{}]}, {"items": [{"success": False}]}, {"items": 1}])
async def test_an_answer_that_is_none_concludes_nothing(server: ScriptedServer, store: Path, content: Any) -> None:
    server.script = [says(content)]
    client = a_client(store, server.url)
    await client.report(KEY, "databases", "created", 1)
    with pytest.raises(Unreachable, match="not the service's"):
        await client.deliver_reports()
    assert (await client.waiting_reports(), await client.refused_reports()) == (1, [])
    await client.aclose()


def test_the_file_is_its_owner_s_alone(store: Path) -> None:
    opened = Store(store)
    opened.add_report("k", "{}")
    assert opened._run("PRAGMA synchronous") == [(2,)]  # a report is on the disk, not on its way there
    assert {file.stat().st_mode & 0o777 for file in store.parent.glob("billing.db*")} == {0o600}
    opened.close()
