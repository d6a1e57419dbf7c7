"""Connections: silent clients, slow ones, and ones that hang up within a request."""

import json
import re
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import pytest

from devstack.ports import choose
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import DatabaseUrls

HOST: Final = "127.0.0.1"
SILENT: Final = 1_500
"""More than Granian accepts by default: 512 for each of two processes, and as many again in the kernel's queue."""
ENDED_WITHIN: Final = 20.0
HEAD: Final = b"Host: x\r\nContent-Type: application/json\r\n"
ROUTES: Final = (
    "/api/v1/auth/login",
    "/api/v1/billing/usage",
    "/api/v1/webhooks/stripe",
    "/api/v1/oauth/token",
    "/api/v1/nextpanel/activate",
)
BROKEN: Final = {
    "a chunk's size is none": b"Transfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n",
    "a chunk is cut": b"Transfer-Encoding: chunked\r\n\r\n10\r\nabc",
    "a chunk's size is past all bounds": b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
    "a body is cut": b"Content-Length: 100\r\n\r\nabc",
    "both lengths, and no chunk": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
}


class Served(NamedTuple):
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection((HOST, self.port), timeout=ENDED_WITHIN)

    def faults(self) -> list[str]:
        """Log lines above `info`, except the warning about the limit of open files."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        loud = [line for line in lines if line["level"] not in {"debug", "info"}]
        return [line["event"] for line in loud if line["event"] != "process.few_files"]


@pytest.fixture
def served(database_urls: DatabaseUrls, valkey: str, tmp_path: Path) -> Iterator[Served]:
    found = Served(choose(HOST), tmp_path / "log")
    more = {"NP_API_PORT": str(found.port), "NP_API_PROCESSES": "1"}
    env = environment(database_urls, redis_url=valkey, **more)
    with module("billing_api", health=f"{found.url}/health/ready", log=found.log, env=env):
        yield found


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read_to_end(connection: socket.socket) -> bytes:
    """Reads until the server ends the connection."""
    received = b""
    try:
        while chunk := connection.recv(65_536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def status(answer: bytes) -> int:
    """The status of the answer; 0 where there is none."""
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0


@pytest.mark.usefixtures("many_files")
def test_silent_and_dripped_connections_shut_nobody_out_and_are_ended(served: Served) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(served.connect()) for _ in range(SILENT)]
        half_a_head = stack.enter_context(served.connect())
        half_a_head.sendall(b"GET /api/v1/plans HTTP/1.1\r\nHost: x\r\n")
        bodies = [stack.enter_context(served.connect()) for _ in ROUTES]
        for connection, route in zip(bodies, ROUTES, strict=True):
            connection.sendall(f"POST {route} HTTP/1.1\r\n".encode() + HEAD + b"Content-Length: 100\r\n\r\n{")
        began = time.monotonic()
        for _ in range(10):
            assert httpx.get(f"{served.url}/health/ready", timeout=3).status_code == 200
        assert [read_to_end(connection) for connection in (*silent, half_a_head)] == [b""] * (SILENT + 1)
        assert [status(read_to_end(connection)) for connection in bodies] == [408] * len(ROUTES)
        assert 8 < time.monotonic() - began < ENDED_WITHIN
    assert served.faults() == []


def test_a_body_that_breaks_off_is_no_crash_of_ours(served: Served) -> None:
    answers = {}
    for route in ROUTES:
        for name, request in BROKEN.items():
            with served.connect() as connection:
                connection.sendall(f"POST {route} HTTP/1.1\r\n".encode() + HEAD + request)
                connection.shutdown(socket.SHUT_WR)
                answers[route, name] = status(read_to_end(connection))
    assert {case: answer for case, answer in answers.items() if answer not in {0, 400, 408}} == {}
    assert served.faults() == []
