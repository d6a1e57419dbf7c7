"""The status server: as much HTTP as health checks and Prometheus need."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

import httpx
import pytest

from tests.support.servers import ROOT
from workers.process.status_server import StatusPage, serve


async def fine() -> StatusPage:
    return StatusPage(b'{"status":"ok"}')


async def not_yet() -> StatusPage:
    return StatusPage(b"{}", HTTPStatus.SERVICE_UNAVAILABLE)


async def broken() -> StatusPage:
    raise ValueError("inside")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = await serve("127.0.0.1", 0, {"/fine": fine, "/not-yet": not_yet, "/broken": broken})
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/fine", 200, '{"status":"ok"}'),
        ("GET", "/fine?verbose=1", 200, '{"status":"ok"}'),
        ("HEAD", "/fine", 200, ""),
        ("GET", "/not-yet", 503, "{}"),
        ("GET", "/elsewhere", 404, '{"status":"not found"}'),
        ("POST", "/fine", 405, '{"status":"only GET is served here"}'),
        ("GET", "/broken", 500, '{"status":"failed"}'),
    ],
)
async def test_each_path_has_its_answer(port: int, method: str, path: str, status: int, body: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, f"http://127.0.0.1:{port}{path}")
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("garbage", [b"", b"\x16\x03\x01\x02\x00", b"GET /fine", b"x" * 50_000, b"\r\n\r\n"])
async def test_garbage_does_no_harm(port: int, garbage: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(garbage)
    writer.write_eof()
    await reader.read()
    writer.close()
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"http://127.0.0.1:{port}/fine")).status_code == 200


async def test_a_client_that_hangs_up_is_no_fault_of_ours() -> None:
    """In uvloop, as the process runs: there a closed transport raises RuntimeError."""
    done = await asyncio.to_thread(
        subprocess.run, (sys.executable, "-c", HUNG_UP), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


HUNG_UP: Final = """
import asyncio, gc, socket, struct
import uvloop
from workers.process.status_server import StatusPage, serve

async def run():
    asked, gone = asyncio.Event(), asyncio.Event()

    async def slow():
        asked.set()
        await gone.wait()
        return StatusPage(bytes(1000))

    server = await serve("127.0.0.1", 0, {"/slow": slow})
    client = socket.create_connection(server.sockets[0].getsockname())
    client.sendall(b"GET /slow HTTP/1.1\\r\\n\\r\\n")
    await asked.wait()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await asyncio.sleep(0.1)  # the reset arrives
    gone.set()
    await asyncio.sleep(0.1)
    gc.collect()
    server.close()

uvloop.run(run())
"""
