"""Watchdog: a real process ends with exit code 70 if its loop or its links hang; the minute is shortened here."""

import signal
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from core.parts import EXIT_CODE
from core.settings import process_environment
from devstack.ports import choose
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.support.processes import program
from tests.validator.stage import HOST, answers, environment

PROGRAM: Final = """
import os, signal, socket, sys, time
from core.parts import Parts
from core.settings import validator_settings
from validator import process
from validator.redis.link import RedisLink

def listening(port):
    at = socket.create_server(("127.0.0.1", port))
    at.setblocking(False)
    return at

if "links" in sys.argv:
    RedisLink.tended = False
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
parts = Parts(silent_after=2.0, ends_within=2.0)
settings = validator_settings()
at = (listening(settings.port), listening(0))
process.serve(settings, 0, os.getppid(), at, os.pipe()[1], parts)
"""


def started(redis_url: str, port: int, log: Path, *hanging: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    env = process_environment() | environment(redis_url, NP_VALIDATOR_PORT=str(port))
    return program(PROGRAM, *hanging, env=env, log=log)


def test_where_links_are_left_alone(hot_valkey: Valkey, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with started(hot_valkey.url, choose(HOST), log, "links") as process:
        assert process.wait(60) == EXIT_CODE
    assert '"parts":["links"]' in log.read_text()


def test_where_the_loop_hangs(hot_valkey: Valkey, tmp_path: Path) -> None:
    port, log = choose(HOST), tmp_path / "log"
    with started(hot_valkey.url, port, log) as process:
        url = f"http://{HOST}:{port}"
        assert wait_until(lambda: process.poll() is not None or answers(url, "live"), 30), log.read_text()
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == EXIT_CODE
