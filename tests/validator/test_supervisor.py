"""Supervisor: dead children are replaced, a dead parent takes its children along, a stop loses no answer."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.support.callers import REFUSED, calling, get
from tests.validator.stage import HOST, Panel, Projection, Running, answers, ready, request_bytes, validator


@pytest.fixture
def house(hot_valkey: Valkey, projection: Projection, tmp_path: Path) -> Iterator[Running]:
    """A validator of two processes."""
    with validator(hot_valkey.url, tmp_path / "log", NP_VALIDATOR_PROCESSES="2") as process:
        assert ready(process.url)
        yield process


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def status_of_ready(house: Running) -> int:
    return httpx.get(f"{house.url}/health/ready", timeout=5).status_code


def total(lines: list[str], name: str) -> float:
    """The sum of a metric over all processes."""
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def everything(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


async def test_a_child_that_is_killed_comes_back(house: Running) -> None:
    before = house.children()
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    assert wait_until(lambda: len(set(house.children()) - {before[0]}) == 2, 10)
    assert before[1] in house.children()


async def test_while_a_child_is_replaced_its_clients_wait_and_none_is_refused(house: Running) -> None:
    """The listening sockets belong to the parent: the kernel keeps connections for the next child."""
    for pid in house.children():
        os.kill(pid, signal.SIGKILL)
    async with httpx.AsyncClient(base_url=house.url, timeout=10) as client:
        responses = await asyncio.gather(*[client.get("/health/live") for _ in range(20)])
    assert {response.status_code for response in responses} == {200}


async def test_a_stop_answers_what_was_pipelined(house: Running, projection: Projection) -> None:
    issued, key = await projection.license(), await projection.api_key()
    request = request_bytes(key, "validate-license", {"license_key": issued.key, "feature": "create_database"})
    with socket.create_connection((HOST, house.port)) as connection:
        connection.sendall(request)
        assert b'"code":"VALID"' in connection.recv(65536)
        connection.sendall(request * 50)
        house.process.send_signal(signal.SIGTERM)
        assert everything(connection).count(b"HTTP/1.1 200 OK") == 50
    assert house.process.wait(20) == 0


async def test_a_stop_tells_the_load_balancer_serves_on_and_loses_no_request(
    hot_valkey: Valkey, projection: Projection, tmp_path: Path
) -> None:
    """No client that waits to be accepted gets a reset, either."""
    issued, key = await projection.license(), await projection.api_key()
    ask = request_bytes(key, "validate-license", {"license_key": issued.key, "feature": "create_database"})
    more = {"NP_VALIDATOR_PROCESSES": "2", "NP_DRAIN_SECONDS": "3"}
    with validator(hot_valkey.url, tmp_path / "log", **more) as house:
        assert ready(house.url)
        async with calling(house.port, ask, get("/health/live")) as callers:
            await callers.heard_more(100)
            house.process.send_signal(signal.SIGTERM)
            not_ready = await asyncio.to_thread(wait_until, lambda: status_of_ready(house) == 503, 3)
            await callers.heard_more(100)
            assert await asyncio.to_thread(house.process.wait, 30) == 0
    assert not_ready
    assert callers.failed == {}
    assert callers.closing >= 100


async def test_a_child_that_is_ended_drains_and_its_clients_wait_for_the_next(
    house: Running, projection: Projection
) -> None:
    before = house.children()
    async with calling(house.port, get("/health/live")) as callers:
        await callers.heard_more(50)
        os.kill(before[0], signal.SIGTERM)
        replaced = await asyncio.to_thread(
            wait_until, lambda: len(house.children()) == 2 and before[0] not in house.children(), 30
        )
        await callers.heard_more(50)
    assert replaced
    assert callers.failed == {}
    assert REFUSED not in callers.heard


async def test_a_killed_parent_leaves_nobody_behind(house: Running) -> None:
    children = house.children()
    house.process.kill()
    house.process.wait()
    assert wait_until(lambda: not any(alive(pid) for pid in children), 10)


async def test_a_roll_replaces_every_child_and_loses_no_request(house: Running, projection: Projection) -> None:
    issued, key = await projection.license(), await projection.api_key()
    before = set(house.children())
    done = asyncio.Event()
    codes: list[str] = []

    async def ask_on() -> None:
        while not done.is_set():
            async with httpx.AsyncClient(base_url=house.url, timeout=10) as client:
                codes.append((await Panel(client, key).verdict(issued))["code"])

    async with asyncio.TaskGroup() as panels:
        for _ in range(4):
            panels.create_task(ask_on())
        house.process.send_signal(signal.SIGHUP)
        rolled = await asyncio.to_thread(
            wait_until, lambda: len(house.children()) == 2 and not before & set(house.children()), 30
        )
        done.set()
    assert rolled
    assert set(codes) == {"VALID"}


async def test_each_process_shows_its_metrics_on_a_port_of_its_own(
    house: Running, projection: Projection, hot_valkey: Valkey
) -> None:
    issued, key = await projection.license(), await projection.api_key()
    async with httpx.AsyncClient() as client:
        panel = Panel(httpx.AsyncClient(base_url=house.url, timeout=10), key)
        for _ in range(5):
            assert (await panel.verdict(issued))["code"] == "VALID"
        assert (await panel.call("validate-license", b"{")).status_code == 400
        await panel._client.aclose()
        pages = [(await client.get(f"http://{HOST}:{house.metrics_port + slot}/metrics")).text for slot in (0, 1)]
    lines = [line for page in pages for line in page.splitlines()]
    assert total(lines, 'np_validator_verdicts_total{code="VALID"}') == 5
    assert 'np_validator_problems_total{code="invalid_input",status="400"} 1.0' in lines
    assert total(lines, "np_validator_answers_at_once_total") + total(lines, "np_validator_wait_seconds_count") >= 6
    assert total(lines, "np_validator_loop_lateness_seconds_count") > 0
    assert "np_validator_redis_up 1.0" in lines
    assert 1 <= total(lines, "np_validator_cached_licenses") <= 2  # one license, in as many processes as were asked
    assert 1 <= total(lines, "np_validator_license_reads_total") <= 5  # where the fence is late, it is read again
    server = f'{{server="{HOST}:{hot_valkey.port}"}}'
    assert total(lines, f"np_validator_redis_round_trip_seconds_count{server}") >= 2
    assert total(lines, f"np_validator_redis_breaker_open{server}") == 0
    assert 0 < total(lines, f"np_validator_fence_lag_seconds{server}") < 10
    assert total(lines, "np_validator_as_of_age_seconds") > 0


def test_settings_that_are_wrong_are_told_by_name(hot_valkey: Valkey, tmp_path: Path) -> None:
    started = validator(hot_valkey.url, tmp_path / "log", NP_KEK="k1:short")
    with pytest.raises(AssertionError, match="NP_KEK must be"), started:
        pass


def test_logs_are_json_and_name_no_secret(house: Running) -> None:
    lines = [json.loads(line) for line in house.log.read_text().splitlines()]
    assert {"validator.listening", "validator.serving", "redis.connected"} <= {line["event"] for line in lines}
    assert answers(house.url, "live")
