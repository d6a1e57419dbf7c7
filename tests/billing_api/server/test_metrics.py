"""Metrics of the API's processes: shown once, added up, and not to customers."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from chaos import disk
from core.settings import process_environment
from devstack.ports import choose
from devstack.waiting import wait_until
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls

HOST = "127.0.0.1"
ASKED = re.compile(r'billing_api_requests_total\{[^}]*path="/health/live"[^}]*\} (\S+)')


def ask(url: str, times: int) -> None:
    """Uses a new connection each time, which any of the processes may accept."""
    for _ in range(times):
        assert httpx.get(f"{url}/health/live", timeout=5).status_code == 200


def status_of(address: str) -> int | None:
    """None where nobody listens."""
    try:
        return httpx.get(address, timeout=5).status_code
    except httpx.ConnectError:
        return None


def serving(master: int) -> list[int]:
    """The master's processes that serve requests, without its resource tracker."""
    children = [child for child in psutil.Process(master).children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child.pid for child in children if "resource_tracker" not in " ".join(child.cmdline())]


def test_the_counters_of_all_processes_add_up(database_urls: DatabaseUrls, tmp_path: Path) -> None:
    port, metrics_port = choose(HOST), choose(HOST)
    url, metrics = f"http://{HOST}:{port}", f"http://{HOST}:{metrics_port}/metrics"
    ports = {"NP_API_PORT": str(port), "NP_API_METRICS_PORT": str(metrics_port), "TMPDIR": str(tmp_path)}
    env = environment(database_urls, redis_url="redis://127.0.0.1:1", NP_API_PROCESSES="2", **ports)

    def counted() -> int:
        return int(sum(float(number) for number in ASKED.findall(httpx.get(metrics, timeout=5).text)))

    with module("billing_api", health=f"{url}/health/live", log=tmp_path / "log", env=env) as master:
        # A request is counted once its answer has been sent, so its sender may be quicker.
        assert wait_until(lambda: counted() >= 1, 30)  # the look at its health
        before = counted()
        looked = httpx.head(metrics, timeout=5)  # as watchers of uptime ask
        assert (looked.status_code, looked.content, int(looked.headers["content-length"]) > 0) == (200, b"", True)
        ask(url, 40)
        assert wait_until(lambda: counted() - before == 40, 30)
        assert [counted() - before for _ in range(5)] == [40] * 5

        both = serving(master.pid)
        assert len(both) == 2
        folder = Path(psutil.Process(both[0]).environ()["PROMETHEUS_MULTIPROC_DIR"])
        counted_by = {int(file.stem.rpartition("_")[2]) for file in folder.glob("*.db")}
        assert counted_by == set(both)  # each had its share

        os.kill(both[0], signal.SIGKILL)  # what it had counted has happened all the same
        assert wait_until(lambda: len(set(serving(master.pid)) - set(both)) == 1, 30)
        assert counted() - before == 40
        assert not list(folder.glob(f"gauge_live*_{both[0]}.db"))

        # The other worker may still be starting, so nobody may listen for a moment.
        assert wait_until(lambda: status_of(f"{url}/metrics") is not None, 30)
        assert status_of(f"{url}/metrics") == 404  # nothing for customers
    assert not folder.exists()


COUNTING: Final = """
import subprocess, sys, tempfile
from pathlib import Path
from billing_api.server.metrics import metrics_server
from chaos.disk import fill

COUNT = "from prometheus_client import Counter; c = Counter('c', 'd', ['l'])\\nfor n in range(9999): c.labels(n).inc()"
fill(Path(tempfile.gettempdir()))
with metrics_server("127.0.0.1", int(sys.argv[1])):
    sys.exit(subprocess.run((sys.executable, "-c", COUNT), check=False).returncode)
"""


@pytest.mark.skipif(not disk.allowed(), reason="this user may not mount a tmpfs")
def test_a_process_counts_on_while_the_disk_is_full(tmp_path: Path) -> None:
    program = disk.within(tmp_path, (sys.executable, "-c", COUNTING, str(choose("127.0.0.1"))), megabytes=1)
    done = subprocess.run(program, cwd=ROOT, env=process_environment() | {"TMPDIR": str(tmp_path)}, check=False)
    assert done.returncode == 0
