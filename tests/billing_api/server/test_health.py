"""Health checks of an API process: liveness, readiness and dependencies."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar
from redis.asyncio import Redis

from core.health import Readiness
from core.parts import EXIT_CODE, Parts
from core.settings import process_environment
from devstack.ports import choose
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.billing_api.conftest import Client
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls, running
from tests.validator.stage import Projection

NOWHERE: Final = "postgresql://np_api:x@127.0.0.1:1/nowhere"


async def test_a_process_that_can_do_its_duty_is_ready(client: Client) -> None:
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})


async def test_live_tells_of_every_part(client: Client) -> None:
    live = await client.get("/health/live")
    assert (live.status_code, live.json()["status"]) == (200, "ok")
    assert live.json()["parts"].keys() == {"health", "last_use", "usage_reports"}


async def test_a_dead_part_fails_live_and_ready(app: Litestar, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts()  # the application's own live on with it, for other tests
    parts.add("doomed").end("ValueError")
    monkeypatch.setattr(app.state.api.health, "parts", parts)
    monkeypatch.setattr(app.state.api.health, "readiness", Readiness(lambda: parts.dead))
    live, ready = await client.get("/health/live"), await client.get("/health/ready")
    assert (live.status_code, live.json()["status"]) == (503, "dead")
    assert live.json()["parts"]["doomed"] == {"state": "dead", "cause": "ValueError", "last_success": None}
    assert (ready.status_code, ready.json()["reason"]) == (503, "dead_part")
    assert ready.json()["lacking"] == ["doomed"]


async def test_what_health_answers_is_in_the_document(client: Client) -> None:
    paths = (await client.get("/schema/openapi.json")).json()["paths"]
    foreseen = {name: set(paths[f"/health/{name}"]["get"]["responses"]) for name in ("live", "ready", "dependencies")}
    assert foreseen == {"live": {"200", "503"}, "ready": {"200", "503"}, "dependencies": {"200"}}


async def test_dependencies_are_told_by_name(client: Client) -> None:
    told = await client.get("/health/dependencies")
    states = {"postgres": "ok", "redis": "silent", "queue_redis": "ok"}  # this application has a Redis for that alone
    assert told.status_code == 200
    assert told.json() == {"status": "degraded", "lacking": ["redis"], "dependencies": states}


class Api:
    def __init__(self, env: Mapping[str, str], port: int) -> None:
        self.env = env
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str) -> tuple[int, Any]:
        answer = httpx.get(f"{self.url}/health/{path}", timeout=5)
        return answer.status_code, answer.json()

    def sees(self, **states: str) -> bool:
        status, told = self.ask("dependencies")
        return status == 200 and bool(told["dependencies"] == states)


async def filled(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await Projection(redis).load()


async def emptied(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.flushall()


def api(urls: DatabaseUrls, redis_url: str, **more: str) -> Api:
    port, metrics = choose("127.0.0.1"), choose("127.0.0.1")
    own = {"NP_API_PORT": str(port), "NP_API_METRICS_PORT": str(metrics), "NP_API_PROCESSES": "1"}
    return Api(environment(urls, redis_url=redis_url, **own, **more), port)


def test_what_shared_servers_do_later_empties_no_load_balancer(database_urls: DatabaseUrls, tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    served = api(database_urls, server.url)
    with (
        running(server, tmp_path / "valkey.log") as valkey,
        module("billing_api", health=f"{served.url}/health/ready", log=tmp_path / "log", env=served.env),
    ):
        assert wait_until(lambda: served.sees(postgres="ok", redis="loading"), 10)
        asyncio.run(filled(server.url))
        assert wait_until(lambda: served.sees(postgres="ok", redis="ok"), 10)
        valkey.send_signal(signal.SIGSTOP)
        try:
            assert wait_until(lambda: served.sees(postgres="ok", redis="silent"), 10)
            began = time.monotonic()
            assert served.sees(postgres="ok", redis="silent")
            assert time.monotonic() - began < 2
            assert served.ask("ready") == (200, {"status": "ok"})
        finally:
            valkey.send_signal(signal.SIGCONT)
        assert wait_until(lambda: served.sees(postgres="ok", redis="ok"), 10)
        asyncio.run(emptied(server.url))
        assert wait_until(lambda: served.sees(postgres="ok", redis="loading"), 10)
        assert served.ask("ready") == (200, {"status": "ok"})


def test_the_queues_redis_is_told_where_it_is_another(database_urls: DatabaseUrls, tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose("127.0.0.1"), fast=True)
    queue = Valkey(data=tmp_path / "queue", port=choose("127.0.0.1"), fast=True)
    served = api(database_urls, server.url, QUEUE_REDIS_URL=queue.url)
    with (
        running(server, tmp_path / "valkey.log"),
        module("billing_api", health=f"{served.url}/health/ready", log=tmp_path / "log", env=served.env),
    ):
        asyncio.run(filled(server.url))
        assert wait_until(lambda: served.sees(postgres="ok", redis="ok", queue_redis="silent"), 10)
        with running(queue, tmp_path / "queue.log"):
            assert wait_until(lambda: served.sees(postgres="ok", redis="ok", queue_redis="ok"), 10)


def test_a_process_that_never_met_its_database_is_not_ready_yet(
    database_urls: DatabaseUrls, valkey: str, tmp_path: Path
) -> None:
    served = api(database_urls, valkey, DATABASE_URL=NOWHERE)
    with module("billing_api", health=f"{served.url}/health/live", log=tmp_path / "log", env=served.env):
        assert served.ask("ready") == (503, {"status": "unavailable", "reason": "not_yet", "lacking": ["postgres"]})
        assert served.ask("dependencies")[1]["dependencies"]["postgres"] == "silent"


DOOMED: Final = """
import asyncio, signal
from billing_api.server.worker import served

async def fails():
    raise ValueError("a bug")

async def live():
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked.set)
    app = served()

    async def doom():
        app.parts.start("doomed", fails())

    app.on_startup.append(doom)
    async with app.lifespan():
        await asked.wait()

asyncio.run(live())
"""


def test_a_process_with_a_dead_part_ends_with_the_code_that_says_so(database_urls: DatabaseUrls, valkey: str) -> None:
    env = process_environment() | dict(api(database_urls, valkey).env)
    done = subprocess.run(
        (sys.executable, "-c", DOOMED), cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_CODE, done.stderr
    assert '"part":"doomed"' in done.stderr
