"""A real worker process ends with exit code 70 where a part of it hangs, or its whole loop; here a minute is short."""

import signal
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import httpx
import pytest

from core.parts import EXIT_CODE
from core.settings import process_environment
from devstack.ports import choose
from devstack.waiting import wait_until
from tests.support.environment import environment
from tests.support.processes import program
from tests.support.servers import DatabaseUrls

SHORT_MINUTE: Final = 6.0
PROGRAM: Final = f"""
import asyncio, signal, sys, time
import uvloop
from core.parts import Parts
from core.settings import worker_settings
from core.telemetry import configure_logging
from workers import health, runtime
from workers.handlers import dunning, overdue_subscriptions, stripe_reconciliation
from workers.reconciliation import run
from workers.projection.pin_sweeper import PinSweeper

async def hangs(_):
    await asyncio.Event().wait()

health._LOOK_EACH_LATER = dunning._LOOK_EACH = stripe_reconciliation._LOOK_EACH = 0.5
overdue_subscriptions._LOOK_EACH = run._LOOK_EACH = 0.5
if "pins" in sys.argv:
    PinSweeper.run = hangs
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
configure_logging("workers", "info")
sys.exit(uvloop.run(runtime.run(worker_settings(), Parts(silent_after={SHORT_MINUTE}, ends_within=2))))
"""


pytestmark = pytest.mark.usefixtures("api_database")  # what the process writes down goes with its test


@pytest.fixture
def env(database_urls: DatabaseUrls, valkey: str) -> dict[str, str]:
    return process_environment() | environment(database_urls, redis_url=valkey, NP_WORKER_PORT=str(choose("127.0.0.1")))


def started(env: Mapping[str, str], log: Path, *hanging: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    return program(PROGRAM, *hanging, env=env, log=log)


def test_where_a_part_hangs(env: Mapping[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(env, log, "pins") as process:
        assert process.wait(60) == EXIT_CODE
    assert '"parts":["pins"]' in log.read_text()
    assert '"event":"workers.stopping"' in log.read_text()  # the rest of it has ended tidily


def test_where_the_loop_hangs(env: Mapping[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(env, log) as process:
        live = f"http://127.0.0.1:{env['NP_WORKER_PORT']}/health/live"
        assert wait_until(lambda: process.poll() is not None or is_alive(live), 60), log.read_text()
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == EXIT_CODE


def is_alive(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
