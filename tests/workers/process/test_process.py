"""The real worker process: wired, stopped, killed between any two steps, started without its stores."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from core.clock import utc_now
from core.hotstore import keys
from core.settings import process_environment
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.support.callers import calling, get
from tests.support.databases import as_owner, change, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls, running
from tests.workers.world import HotStore, Simulator, eventually, many_licenses


class Worker:
    """How this test's worker processes are started."""

    def __init__(self, env: Mapping[str, str], port: int, log: Path) -> None:
        self.env = env
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    @contextmanager
    def started(self) -> Iterator["subprocess.Popen[bytes]"]:
        with module("workers", health=f"{self.url}/health/live", log=self.log, env=self.env) as process:
            yield process

    def ask(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=5)

    async def ready(self) -> bool:
        return self.ask("/health/ready").status_code == 200

    async def metrics_of_an_empty_queue(self) -> str | None:
        """A hint leaves the queue a moment after its job has been performed."""
        shown = self.ask("/metrics").text
        return shown if "np_arq_depth 0.0" in shown else None


@pytest.fixture
def worker(
    database_urls: DatabaseUrls, valkey: str, nextpanel: Simulator, mailbox: Simulator, tmp_path: Path, desk: Desk
) -> Worker:
    port = choose("127.0.0.1")
    more = {
        "NEXTPANEL_URL": nextpanel.url,
        "MAIL_URL": mailbox.url,
        "NP_WORKER_PORT": str(port),
        "NP_LOG_LEVEL": "info",
    }
    return Worker(environment(database_urls, redis_url=valkey, **more), port, tmp_path / "log")


class Sale:
    """One license that was issued, and what has become of it everywhere."""

    def __init__(
        self, urls: DatabaseUrls, nextpanel: Simulator, mailbox: Simulator, license_id: UUID, email: str
    ) -> None:
        self.urls = urls
        self.nextpanel = nextpanel
        self.mailbox = mailbox
        self.license_id = license_id
        self.email = email

    async def license(self) -> dict[str, Any]:
        return (await rows(self.urls, "SELECT * FROM licenses WHERE id = :id", id=self.license_id))[0]

    async def provisioned(self) -> bool:
        return bool((await self.license())["provisioning"] == "done")

    async def jobs(self, state: str) -> list[dict[str, Any]]:
        """Of the partner lane."""
        return await rows(self.urls, f"SELECT * FROM outbox WHERE lane = 'partner' AND ({state})")

    async def all_done(self) -> bool:
        kinds = {job["job"]["type"] for job in await self.jobs("done_at IS NOT NULL")}
        return kinds == {"provision", "deliver_mail"} and not await self.jobs("done_at IS NULL")

    async def assert_happened_once(self) -> None:
        account = await self.nextpanel.account(self.license_id)
        assert account is not None
        assert account["effects"] == 1
        assert str((await self.license())["nextpanel_user_id"]) == account["nextpanel_account_id"]
        assert len(await self.mailbox.messages(self.email)) == 1
        [mail] = await rows(self.urls, "SELECT * FROM mails")
        assert mail["sent_at"] is not None


@pytest.fixture
async def sale(desk: Desk, database_urls: DatabaseUrls, nextpanel: Simulator, mailbox: Simulator) -> Sale:
    user_id = await desk.a_user()
    issued = await desk.a_license(user_id)
    return Sale(database_urls, nextpanel, mailbox, issued.license.id, f"{user_id.hex}@example.com")


async def test_a_sale_from_commit_to_mail(worker: Worker, sale: Sale, hot_store: HotStore) -> None:
    with worker.started() as process:
        await eventually(worker.ready)
        await eventually(sale.all_done)
        await sale.assert_happened_once()
        assert await hot_store.license((await sale.license())["license_key_hash"]) is not None
        assert await eventually(hot_store.synced_through)
        shown = await eventually(worker.metrics_of_an_empty_queue)
        for expected in (
            'np_outbox_lag_seconds{lane="projection"} 0.0',
            'np_outbox_dead{lane="partner"} 0.0',
            "np_webhook_oldest_unprocessed_seconds 0.0",
            "np_hot_store_missing_buckets 0.0",
            "np_audit_chain_cut 0.0",
            "np_audit_unsealed 0.0",
            'np_up{part="postgres"} 1.0',
            'np_jobs_performed_total{kind="provision",outcome="done"} 1.0',
        ):
            assert expected in shown
        assert float(re.findall(r"np_projection_delay_seconds_count (\S+)", shown)[0]) >= 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "Traceback" not in worker.log.read_text()


async def test_a_stop_tells_those_who_watch_and_works_on_for_a_while(worker: Worker, sale: Sale) -> None:
    patient = Worker(dict(worker.env) | {"NP_DRAIN_SECONDS": "5"}, int(worker.env["NP_WORKER_PORT"]), worker.log)
    with patient.started() as process:
        await eventually(patient.ready)
        async with calling(int(worker.env["NP_WORKER_PORT"]), get("/health/live")) as callers:
            await callers.heard_more(20)
            process.send_signal(signal.SIGTERM)
            not_ready = await asyncio.to_thread(wait_until, lambda: patient.ask("/health/ready").status_code == 503, 4)
            await callers.heard_more(20)
            assert await asyncio.to_thread(process.wait, 20) == 0
    assert not_ready
    assert callers.failed == {}


async def test_it_stops_in_the_midst_of_a_rebuild(worker: Worker, database_urls: DatabaseUrls, desk: Desk) -> None:
    await many_licenses(database_urls, await desk.a_user(), 20_000)
    with worker.started() as process:

        async def begun() -> bool:
            return "rebuild.began" in worker.log.read_text()

        await eventually(begun)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "rebuild.done" not in worker.log.read_text()


async def test_a_kill_in_the_midst_of_a_rebuild_marks_nothing_that_is_not_there(
    worker: Worker, database_urls: DatabaseUrls, desk: Desk, hot_store: HotStore
) -> None:
    number = 20_000
    digests = await many_licenses(database_urls, await desk.a_user(), number)
    with worker.started() as process:

        async def half_way() -> bool:
            return await hot_store.indexed() > number // 4

        await eventually(half_way, within=30)
        process.kill()
        process.wait()
    for bucket in await hot_store.loaded():
        there = await hot_store.redis.zcard(keys.index(bucket))
        assert there == sum(digest[0] == bucket for digest in digests)
    with worker.started():
        await eventually(worker.ready, within=60)
    assert (len(await hot_store.loaded()), await hot_store.indexed()) == (keys.BUCKETS, number)


class Moment(NamedTuple):
    """A step at which a worker is made to stand still: what is set up before it starts, and how to tell it is there."""

    prepare: Callable[[Sale, AsyncExitStack], Awaitable[None]]
    reached: Callable[[Sale, AsyncExitStack], Awaitable[None]]


def partner_fault(partner: str, kind: str, **more: Any) -> Callable[[Sale, AsyncExitStack], Awaitable[None]]:
    async def prepare(sale: Sale, _holding: AsyncExitStack) -> None:
        simulator: Simulator = getattr(sale, partner)
        await simulator.fault(kind, **more)

    return prepare


async def account_is_asked_for(sale: Sale, _holding: AsyncExitStack) -> None:
    await eventually(sale.nextpanel.requests)


async def account_is_made(sale: Sale, _holding: AsyncExitStack) -> None:
    await eventually(lambda: sale.nextpanel.account(sale.license_id))


async def account_cannot_be_written_down(sale: Sale, holding: AsyncExitStack) -> None:
    await eventually(sale.nextpanel.requests)
    await hold(sale.urls, holding, "SELECT 1 FROM licenses FOR UPDATE")
    await eventually(lambda: sale.nextpanel.account(sale.license_id))
    await eventually(lambda: blocked(sale.urls))


async def job_cannot_be_done(sale: Sale, holding: AsyncExitStack) -> None:
    await eventually(sale.nextpanel.requests)
    await hold(sale.urls, holding, "SELECT 1 FROM outbox WHERE lane = 'partner' FOR UPDATE")
    await eventually(sale.provisioned)
    await eventually(lambda: blocked(sale.urls))


async def mail_is_sent(sale: Sale, _holding: AsyncExitStack) -> None:
    await eventually(lambda: sale.mailbox.messages(sale.email))


async def mail_cannot_be_written_down(sale: Sale, holding: AsyncExitStack) -> None:
    await eventually(sale.mailbox.requests)
    await hold(sale.urls, holding, "SELECT 1 FROM mails FOR UPDATE")
    await eventually(lambda: sale.mailbox.messages(sale.email))
    await eventually(lambda: blocked(sale.urls))


MOMENTS: Final = {
    "asking for the account": Moment(partner_fault("nextpanel", "delay", delay_ms=8000), account_is_asked_for),
    "account made, answer lost": Moment(partner_fault("nextpanel", "timeout_after_effect"), account_is_made),
    "account made, not written down": Moment(
        partner_fault("nextpanel", "delay", delay_ms=1500), account_cannot_be_written_down
    ),
    "account written down, job not": Moment(partner_fault("nextpanel", "delay", delay_ms=1500), job_cannot_be_done),
    "mail sent, answer lost": Moment(partner_fault("mailbox", "timeout_after_effect"), mail_is_sent),
    "mail sent, not written down": Moment(
        partner_fault("mailbox", "delay", delay_ms=1500), mail_cannot_be_written_down
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_kill_between_two_steps_doubles_nothing_and_loses_nothing(
    worker: Worker, sale: Sale, moment: str
) -> None:
    async with AsyncExitStack() as holding:
        await MOMENTS[moment].prepare(sale, holding)
        with worker.started() as process:
            await MOMENTS[moment].reached(sale, holding)
            process.kill()
            process.wait()
    left = (await sale.jobs("done_at IS NULL"))[0]
    assert (left["attempts"], left["dead_at"]) == (1, None)
    assert 0 < (left["due_at"] - utc_now()).total_seconds() <= 15
    await change(sale.urls, "UPDATE outbox SET due_at = now() WHERE done_at IS NULL")  # the claim runs out
    with worker.started():
        await eventually(sale.all_done, within=20)
    await sale.assert_happened_once()


async def test_nextpanel_is_away_for_a_while(worker: Worker, sale: Sale) -> None:
    await sale.nextpanel.fault("status", status=503, times=2)
    with worker.started():
        await eventually(sale.all_done, within=20)
    await sale.assert_happened_once()
    [provision] = await sale.jobs("job ->> 'type' = 'provision'")
    assert provision["attempts"] == 3


async def test_neither_store_is_there_at_the_start(
    database_urls: DatabaseUrls, desk: Desk, sale: Sale, tmp_path: Path, worker: Worker
) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    env = dict(worker.env) | {"REDIS_URL": server.url, "QUEUE_REDIS_URL": server.url}
    without = Worker(env, int(worker.env["NP_WORKER_PORT"]), tmp_path / "log")
    with without.started() as process:
        answer = without.ask("/health/ready")
        assert (answer.status_code, answer.json()["reason"]) == (503, "not_yet")
        assert set(answer.json()["lacking"]) == {"redis", "hot_store_loaded"}
        assert 'np_up{part="queue"} 0.0' in without.ask("/metrics").text
        await eventually(sale.all_done, within=20)  # partners are reached without Redis
        for _ in range(2):  # it comes, goes, and comes back empty
            with running(server, tmp_path / "valkey.log"):
                await eventually(without.ready, within=20)
                await eventually(lambda: says(without, {"postgres": "ok", "redis": "ok"}), within=20)
            await eventually(lambda: says(without, {"postgres": "ok", "redis": "silent"}))
            assert await without.ready()  # it has been of use, and is again as soon as the server is
        assert process.poll() is None


async def test_the_queues_redis_is_told_where_it_is_another_and_not_waited_for(
    worker: Worker, valkey: str, tmp_path: Path
) -> None:
    queue = Valkey(data=tmp_path / "queue", port=choose("127.0.0.1"), fast=True)
    env = dict(worker.env) | {"REDIS_URL": valkey, "QUEUE_REDIS_URL": queue.url}
    apart = Worker(env, int(worker.env["NP_WORKER_PORT"]), tmp_path / "log")
    with apart.started():
        await eventually(apart.ready, within=20)
        await eventually(lambda: says(apart, {"postgres": "ok", "redis": "ok", "queue_redis": "silent"}))
        with running(queue, tmp_path / "queue.log"):
            await eventually(lambda: says(apart, {"postgres": "ok", "redis": "ok", "queue_redis": "ok"}))


async def shows(worker: Worker, line: str) -> bool:
    return line in worker.ask("/metrics").text


async def says(worker: Worker, states: Mapping[str, str]) -> bool:
    answer = worker.ask("/health/dependencies")
    lacking = [name for name, state in states.items() if state != "ok"]
    told = {"status": "degraded" if lacking else "ok", "lacking": lacking, "dependencies": states}
    return answer.status_code == 200 and bool(answer.json() == told)


async def test_a_store_that_was_emptied_is_told_as_loading_until_it_is_filled(
    worker: Worker, database_urls: DatabaseUrls, desk: Desk, hot_store: HotStore
) -> None:
    await many_licenses(database_urls, await desk.a_user(), 20_000)
    with worker.started():
        await eventually(worker.ready, within=60)
        await hot_store.redis.flushall()
        await eventually(lambda: says(worker, {"postgres": "ok", "redis": "loading"}))
        assert await worker.ready()
        await eventually(lambda: says(worker, {"postgres": "ok", "redis": "ok"}), within=60)


async def test_a_frozen_store_is_told_as_silent_and_nobody_waits_for_it(worker: Worker, tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    env = dict(worker.env) | {"REDIS_URL": server.url, "QUEUE_REDIS_URL": server.url}
    other = Worker(env, int(worker.env["NP_WORKER_PORT"]), tmp_path / "log")
    with running(server, tmp_path / "valkey.log") as valkey, other.started():
        await eventually(other.ready, within=20)
        valkey.send_signal(signal.SIGSTOP)
        try:
            await eventually(lambda: says(other, {"postgres": "ok", "redis": "silent"}))
            shown = 'np_dependency{dependency="redis",state="silent"} 1.0'
            await eventually(lambda: shows(other, shown), within=20)
            began = time.monotonic()
            assert await says(other, {"postgres": "ok", "redis": "silent"})
            assert time.monotonic() - began < 2
            assert await other.ready()
            assert other.ask("/health/live").status_code == 200
        finally:
            valkey.send_signal(signal.SIGCONT)
        await eventually(lambda: says(other, {"postgres": "ok", "redis": "ok"}), within=20)


async def test_postgres_is_away_at_the_start(worker: Worker, tmp_path: Path) -> None:
    env = dict(worker.env) | {"WORKER_DATABASE_URL": "postgresql://np_worker:x@127.0.0.1:1/nowhere"}
    without = Worker(env, int(worker.env["NP_WORKER_PORT"]), tmp_path / "log")
    with without.started() as process:
        assert "postgres" in without.ask("/health/ready").json()["lacking"]
        assert without.ask("/health/dependencies").json()["dependencies"]["postgres"] == "silent"
        assert 'np_up{part="postgres"} 0.0' in without.ask("/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


async def test_every_part_tells_of_its_last_success(worker: Worker) -> None:
    with worker.started():

        async def all_have_succeeded() -> bool:
            parts = worker.ask("/health/live").json()["parts"]
            return len(parts) == 13 and all(part["last_success"] is not None for part in parts.values())

        await eventually(all_have_succeeded, within=30)
        assert 'np_part_last_success_age_seconds{part="relay"}' in worker.ask("/metrics").text


async def test_a_log_that_cannot_be_written_stops_no_part(worker: Worker, sale: Sale, postgres: Postgres) -> None:
    """Every connection is cut, so that each part fails and wants to log that, onto a disk that is full."""
    without_log = Worker(worker.env, int(worker.env["NP_WORKER_PORT"]), Path("/dev/full"))
    with without_log.started() as process:
        await eventually(without_log.ready, within=20)
        postgres.run_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = 'np_worker'",
            urlsplit(worker.env["OWNER_DATABASE_URL"]).path[1:],
        )
        await eventually(sale.all_done, within=20)
        await sale.assert_happened_once()
        shown = without_log.ask("/metrics").text
        assert float(re.findall(r"^np_log_lines_lost_total (\S+)", shown, re.MULTILINE)[0]) > 0
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_missing_settings_are_told_by_name() -> None:
    env = process_environment() | {"WORKER_DATABASE_URL": "", "NEXTPANEL_URL": "ftp://x"}
    done = subprocess.run(
        (sys.executable, "-m", "workers"), cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "WORKER_DATABASE_URL is not set" in done.stderr
    assert "NEXTPANEL_URL must be a URL" in done.stderr


async def hold(urls: DatabaseUrls, holding: AsyncExitStack, statement: str) -> None:
    """Locks rows until `holding` ends."""
    owner = await holding.enter_async_context(as_owner(urls))
    await owner.execute(text(statement))


async def blocked(urls: DatabaseUrls) -> bool:
    """Whether the worker stands at a lock."""
    waits = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE NOT granted AND datname = current_database() AND usename = 'np_worker'"
    )
    return bool(await rows(urls, waits))
