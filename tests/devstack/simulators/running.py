"""A simulator as its users meet it: a process on a port of its own, which a test may kill and start again."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from core.settings import process_environment

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
READY_WITHIN = 20.0


class Simulator:
    """`python -m devstack.simulators.<name>`, its state kept in `data` from one start to the next."""

    def __init__(self, name: str, data: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=20, trust_env=False, verify=False)
        self._command = (
            *(sys.executable, "-m", f"devstack.simulators.{name}", "--port", str(self.port), "--data", str(data)),
            *flags,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Simulator":
        self._process = subprocess.Popen(self._command, cwd=ROOT, env=process_environment())
        eventually(self._ready, within=READY_WITHIN)
        return self

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the simulator has ended"
        try:
            return self.http.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """As the out-of-memory killer does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Asked to stop; returns the exit code."""
        return self._end(signal.SIGTERM)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self.http.close()

    def _end(self, how: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(look: Callable[[], T], *, within: float = 10.0) -> T:
    """What `look` finds, as soon as it finds something true."""
    deadline = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within} s: {look}"
        time.sleep(0.01)
    return found
