"""The API is asked to stop while clients call it: nobody is reset, and nobody's request is lost."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import psutil
import pytest

from devstack.ports import choose
from devstack.waiting import wait_until
from tests.support.callers import HOST, calling, get
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls

PLANS = get("/api/v1/plans")


class Served(NamedTuple):
    port: int
    log: Path
    process: "subprocess.Popen[bytes]"

    def ready(self) -> int:
        return httpx.get(f"http://{HOST}:{self.port}/health/ready", timeout=10).status_code

    def workers(self) -> set[int]:
        """The pids of the workers that serve."""
        found = psutil.net_connections("tcp4")
        return {c.pid for c in found if c.pid and c.status == "LISTEN" and c.laddr and c.laddr[1] == self.port}

    def faults(self) -> list[str]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line["event"] for line in lines if line["level"] in {"error", "critical"}]


@pytest.fixture
def served(database_urls: DatabaseUrls, valkey: str, tmp_path: Path) -> Iterator[Served]:
    """Two workers that drain for five seconds."""
    port, log = choose(HOST), tmp_path / "log"
    more = {"NP_API_PORT": str(port), "NP_API_PROCESSES": "2", "NP_DRAIN_SECONDS": "5"}
    env = environment(database_urls, redis_url=valkey, **more)
    with module("billing_api", health=f"http://{HOST}:{port}/health/ready", log=log, env=env) as process:
        found = Served(port, log, process)
        assert wait_until(lambda: len(found.workers()) == 2, 60)
        yield found
        process.kill()  # asked to end, it would drain for those five seconds


async def test_a_stop_tells_the_load_balancer_serves_on_and_loses_no_request(served: Served) -> None:
    async with calling(served.port, PLANS) as callers:
        await callers.heard_more(50)
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(wait_until, lambda: served.ready() == 503, 4)
        await callers.heard_more(50)
        assert await asyncio.to_thread(served.process.wait, 30) == 0
    assert callers.failed == {}
    assert callers.closing >= 50
    assert served.faults() == []


async def test_a_worker_that_is_ended_by_itself_drains_as_well_and_another_takes_its_place(served: Served) -> None:
    before = served.workers()
    async with calling(served.port, PLANS) as callers:
        await callers.heard_more(50)
        psutil.Process(min(before)).terminate()
        replaced = await asyncio.to_thread(
            wait_until, lambda: len(served.workers()) == 2 and served.workers() != before, 60
        )
        await callers.heard_more(50)
    assert replaced
    assert callers.failed == {}
    assert callers.closing > 0


async def test_a_killed_master_leaves_no_worker_at_its_port(served: Served) -> None:
    """After a restart the port is free, and no old worker answers beside the new ones."""
    assert len(served.workers()) == 2
    served.process.kill()
    served.process.wait()
    assert await asyncio.to_thread(wait_until, lambda: not served.workers(), 5)


LEAVING: Final = """
import asyncio, os, resource, signal
from billing_api.server.draining import Draining
from core.health import Readiness

async def run():
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    await Draining(Readiness(), seconds=0, port=1).handle_sigterm()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(interrupted.wait(), 10)

asyncio.run(run())
"""


def test_a_worker_without_a_file_to_spare_leaves_all_the_same() -> None:
    done = subprocess.run((sys.executable, "-c", LEAVING), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
