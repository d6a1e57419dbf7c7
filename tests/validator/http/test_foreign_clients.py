"""Other HTTP clients: while processes are replaced or stopped they get answers, and never an error."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from core.problems import PAGES
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.validator.stage import (
    HOST,
    PATH,
    ApiKey,
    License,
    Panel,
    Projection,
    Running,
    ready,
    request_bytes,
    signed_headers,
    validator,
)

CURL: Final = shutil.which("curl")
WRK: Final = shutil.which("wrk")
CROWD: Final = 24


@pytest.fixture
def house(hot_valkey: Valkey, projection: Projection, tmp_path: Path) -> Iterator[Running]:
    """A validator of two processes."""
    with validator(hot_valkey.url, tmp_path / "log", NP_VALIDATOR_PROCESSES="2") as process:
        assert ready(process.url)
        yield process


@pytest.fixture
async def issued(projection: Projection) -> License:
    return await projection.license()


@pytest.fixture
async def key(projection: Projection) -> ApiKey:
    return await projection.api_key()


def question(issued: License) -> bytes:
    return json.dumps({"license_key": issued.key, "feature": "create_database"}).encode()


async def roll(house: Running) -> bool:
    """Whether every process has been replaced."""
    before = set(house.children())
    house.process.send_signal(signal.SIGHUP)

    def rolled() -> bool:
        now = set(house.children())
        return len(now) == 2 and not before & now

    return await asyncio.to_thread(wait_until, rolled, 30)


@pytest.mark.skipif(CURL is None, reason="curl is not installed")
class TestCurl:
    def ask(self, house: Running, issued: License, key: ApiKey, *options: str, times: int = 1) -> list[Any]:
        body = question(issued)
        headers = [f"-H{name}: {value}" for name, value in signed_headers(key, PATH + "validate-license", body).items()]
        urls = [f"{house.url}{PATH}validate-license"] * times
        argv = [str(CURL), "-sS", "--max-time", "10", "-w", "\n%{http_code} %{num_connects}\n", *options, *headers]
        done = subprocess.run([*argv, "-d", body.decode(), *urls], capture_output=True, text=True, check=True)
        return done.stdout.split("\n")[:-1]

    @pytest.mark.parametrize(
        "options",
        [(), ("-HTransfer-Encoding: chunked",), ("-HExpect: 100-continue",), ("--http1.0",), ("-HConnection: close",)],
    )
    def test_is_answered(
        self, shared_validator: Running, issued: License, key: ApiKey, options: tuple[str, ...]
    ) -> None:
        answer, status = self.ask(shared_validator, issued, key, *options)
        assert json.loads(answer)["code"] == "VALID"
        assert status == "200 1"

    def test_keeps_its_connection(self, shared_validator: Running, issued: License, key: ApiKey) -> None:
        lines = self.ask(shared_validator, issued, key, times=3)
        assert lines[1::2] == ["200 1", "200 0", "200 0"]

    def test_asks_for_the_head_alone(self, shared_validator: Running) -> None:
        argv = [str(CURL), "-sSI", "--max-time", "10", f"{shared_validator.url}/problems/busy"]
        head = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert head.startswith("HTTP/1.1 200 OK")
        assert f"Content-Length: {len(PAGES['busy'])}" in head


@pytest.mark.skipif(WRK is None, reason="wrk is not installed (Debian: wrk)")
async def test_wrk_meets_no_error_while_processes_are_replaced(
    house: Running, issued: License, key: ApiKey, tmp_path: Path
) -> None:
    body = question(issued)
    headers = signed_headers(key, PATH + "validate-license", body)
    script = tmp_path / "ask.lua"
    lines = ['wrk.method = "POST"', f"wrk.body = [[{body.decode()}]]"]
    script.write_text("\n".join([*lines, *(f'wrk.headers["{name}"] = "{text}"' for name, text in headers.items())]))
    argv = [str(WRK), "-t1", "-c16", "-d300s", "-s", str(script), f"{house.url}{PATH}validate-license"]
    wrk = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert await roll(house)
    assert await roll(house)
    wrk.send_signal(signal.SIGINT)  # it ends, and tells what it has seen
    report = (await wrk.communicate())[0].decode()
    asked = re.search(r"(\d+) requests in", report)
    assert asked is not None
    assert int(asked[1]) > 100
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report


async def test_kept_connections_meet_no_error_while_processes_are_replaced(
    house: Running, issued: License, key: ApiKey
) -> None:
    done = asyncio.Event()
    codes: list[str] = []

    async def ask_on() -> None:
        async with httpx.AsyncClient(base_url=house.url, timeout=10) as client:
            panel = Panel(client, key)
            while not done.is_set():
                codes.append((await panel.verdict(issued))["code"])

    async with asyncio.TaskGroup() as panels:
        for _ in range(CROWD):
            panels.create_task(ask_on())
        rolled = [await roll(house), await roll(house)]
        done.set()
    assert all(rolled)
    assert len(codes) > CROWD
    assert set(codes) == {"VALID"}


async def test_a_stop_under_load_answers_whatever_was_asked(house: Running, issued: License, key: ApiKey) -> None:
    """Each connection sends requests until an answer says that it is the last one; every request is answered."""
    request = request_bytes(key, "validate-license", {"license_key": issued.key, "feature": "create_database"})
    answered, busy = 0, asyncio.Event()

    async def ask_to_the_end() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(HOST, house.port)
        answer = b""
        while b"Connection: close" not in answer:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None
            answer = head + await reader.readexactly(int(length[1]))
            assert b'"code":"VALID"' in answer
            answered += 1
            if answered == CROWD * 5:
                busy.set()
        assert await reader.read() == b""
        writer.close()

    async with asyncio.TaskGroup() as panels:
        for _ in range(CROWD):
            panels.create_task(ask_to_the_end())
        await asyncio.wait_for(busy.wait(), 10)
        house.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(house.process.wait, 20) == 0
