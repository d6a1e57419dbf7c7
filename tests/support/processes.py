"""A process of the project, started as the devstack starts it, for the time of a block."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import httpx

from core.settings import process_environment
from devstack.waiting import wait_until
from tests.support.secrecy import WATCH
from tests.support.servers import ROOT

_READY_WITHIN: Final = 60.0
_STOPS_WITHIN: Final = 15.0


@contextmanager
def module(
    name: str, *arguments: str, health: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `python -m name arguments`; the block begins once its `health` URL answers 200."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            (sys.executable, "-m", name, *arguments),
            cwd=ROOT,
            env=process_environment() | dict(env or {}),
            stdout=out,
            stderr=out,
        )
    with WATCH.following(log) if log.is_file() else nullcontext():  # /dev/full is no file, and has no end
        try:
            ready = wait_until(lambda: process.poll() is not None or answers(health), _READY_WITHIN)
            assert ready, f"{name} is not ready: {_told(log)}"
            assert process.poll() is None, f"{name} ended: {_told(log)}"
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def program(text: str, *arguments: str, env: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs a short program; kills it at the end of the block."""
    with (
        log.open("wb") as out,
        subprocess.Popen((sys.executable, "-c", text, *arguments), cwd=ROOT, env=env, stderr=out) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _told(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.is_file() else "its log is no file"


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
