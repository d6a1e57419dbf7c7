"""The API as it is served: two Granian processes behind one port, on real sockets."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from devstack.ports import choose
from tests.support.environment import environment
from tests.support.people import Desk, Headers
from tests.support.processes import module
from tests.support.servers import ROOT, DatabaseUrls

ME: Final = "/api/v1/me"


@pytest.fixture
def served(database_urls: DatabaseUrls, valkey: str, tmp_path: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := choose('127.0.0.1'))}"
    more = {"NP_API_PORT": str(port), "NP_API_PROCESSES": "2", "NP_LIMITS": "user=20/3600"}
    env = environment(database_urls, redis_url=valkey, **more)
    with module("billing_api", health=f"{url}/health/ready", log=tmp_path / "log", env=env):
        yield url


async def call(method: str, url: str, headers: Headers) -> httpx.Response:
    """Uses a new connection each time, which either process may accept."""
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(method, url, headers=headers)


async def call_me(url: str, headers: Headers, times: int) -> list[httpx.Response]:
    return [await call("GET", url + ME, headers) for _ in range(times)]


async def test_both_processes_count_together_and_hear_at_once_of_an_end(served: str, desk: Desk) -> None:
    ada, bob = await desk.a_customer(), await desk.a_customer()
    answers = await call_me(served, ada, 30)
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 10
    assert answers[0].headers["ratelimit-policy"] == '"address";q=1000;w=60, "user";q=20;w=3600'
    assert {answer.status_code for answer in await call_me(served, bob, 8)} == {200}
    ended = await call("DELETE", f"{served}{ME}/sessions/{desk.user_of(bob)}", bob)
    assert ended.status_code == 204
    assert {answer.status_code for answer in await call_me(served, bob, 8)} == {401}


def test_the_master_imports_no_application() -> None:
    """Its imports come before its workers', so they would double the time of a start."""
    told = "import sys, billing_api.__main__; print(*sorted(name for name in sys.modules if name.count('.') < 3))"
    imported = subprocess.run((sys.executable, "-c", told), check=True, capture_output=True, text=True, cwd=ROOT).stdout
    loaded = set(imported.split())
    assert "billing_api.server.metrics" in loaded
    assert loaded.isdisjoint({"billing_api.server.app", "billing_api.cli", "litestar", "sqlalchemy", "stripe", "redis"})
