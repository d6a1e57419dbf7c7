"""Garbage: the validator runs no full collections, so requests must leave no reference cycles."""

import asyncio
import contextlib
import gc
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from core.licensing.state import Status
from core.settings import validator_settings
from devstack.valkey import Valkey
from tests.validator.stage import HOST, PATH, ApiKey, Projection, environment, request_bytes
from validator.app import Validator


@pytest.fixture
async def port(hot_valkey: Valkey, projection: Projection) -> AsyncIterator[int]:
    """A validator in this process."""
    at, metrics_at = (socket.create_server((HOST, 0)) for _ in range(2))
    validator = Validator(validator_settings(environment(hot_valkey.url)))
    await validator.start(at, metrics_at)
    yield at.getsockname()[1]
    await validator.stop()


@pytest.fixture
def cycles() -> Iterator[list[object]]:
    """What the collector finds meanwhile; it keeps everything, so that the test can look at it."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield gc.garbage
    gc.set_debug(0)
    gc.garbage.clear()


async def traffic(projection: Projection, api_key: ApiKey) -> list[bytes]:
    """Every kind of call, valid and invalid."""
    license_, suspended = await projection.license(), await projection.license(status=Status.SUSPENDED)
    own = await projection.api_key(license_hash=license_.hash)
    stranger = ApiKey("npk_nobody", "x")
    ask = {"license_key": license_.key, "feature": "create_database"}
    hold = {"license_key": license_.key, "resource": "domains", "count": 1, "ttl": 1}
    return [
        request_bytes(api_key, "validate-license", ask),
        request_bytes(own, "validate-license", ask),
        request_bytes(stranger, "validate-license", ask),
        request_bytes(api_key, "validate-license", {"license_key": suspended.key, "feature": "x"}),
        request_bytes(api_key, "validate-license", {"license_key": "NP-1"}),
        request_bytes(api_key, "validate-licenses", {"items": [ask] * 5}),
        request_bytes(api_key, "explain", ask),
        request_bytes(api_key, "reserve", hold),
        request_bytes(api_key, "release", {"license_key": license_.key, "reservation_id": "x"}),
        request_bytes(api_key, "lease", {"license_key": license_.key}),
        f"POST {PATH}validate-license HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{json.dumps({})}".encode(),
        b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    ]


async def visit(port: int, requests: list[bytes], last_words: bytes) -> None:
    """One connection: every request answered, then an end that is none."""
    reader, writer = await asyncio.open_connection(HOST, port)
    for request in requests:
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        match = re.search(rb"Content-Length: (\d+)", head)
        assert match is not None
        await reader.readexactly(int(match[1]))
    writer.write(last_words)
    with contextlib.suppress(ConnectionError):
        writer.write_eof()
    await reader.read()
    writer.close()


async def test_traffic_leaves_no_cycles(port: int, projection: Projection, cycles: list[object]) -> None:
    requests = await traffic(projection, await projection.api_key())
    for number in range(30):
        await visit(port, requests, b"nonsense" if number % 2 else b"POST / HTTP/1.1\r\n")
        if number % 3 == 0:
            await projection.change(await projection.license(), status=Status.SUSPENDED)
    gc.collect()
    ours = [found for found in cycles if type(found).__module__.startswith(("validator", "core"))]
    assert [type(found).__qualname__ for found in ours] == []
