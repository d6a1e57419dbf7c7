"""Kept answers: read once for many requests, believed for a second, and the same in every process."""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import msgspec
import pytest

from billing_api.commerce.plans.service import PlansOnSale
from billing_api.web.kept_answer import KEPT_FOR, KeptAnswer
from db.reads import SystemReads
from devstack.ports import choose
from devstack.waiting import wait_until
from tests.billing_api.conftest import Client
from tests.support.callers import HOST
from tests.support.databases import change
from tests.support.environment import environment
from tests.support.processes import module
from tests.support.servers import DatabaseUrls

PLANS: Final = "/api/v1/plans"
CONFIG: Final = "/api/v1/config"
LISTED_ORIGIN: Final = "http://127.0.0.1:8001"


class Told(msgspec.Struct):
    number: int


class Source:
    """Counts its reads; `fails` and `gate` decide how the next ones end."""

    def __init__(self) -> None:
        self.reads = 0
        self.number = 1
        self.fails = False
        self.now = 100.0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> Told:
        self.reads += 1
        number = self.number
        await self.gate.wait()
        if self.fails:
            raise ConnectionError
        return Told(number)

    def kept(self) -> KeptAnswer:
        return KeptAnswer(self.read, cache_control="no-cache", monotonic=lambda: self.now)


async def number_of(kept: KeptAnswer) -> int:
    content: bytes = (await kept.current()).answer("", "").content
    return msgspec.json.decode(content, type=Told).number


async def test_it_is_read_again_after_a_second_and_not_before() -> None:
    source = Source()
    kept = source.kept()
    assert [await number_of(kept), source.reads] == [1, 1]
    source.number = 2
    source.now += KEPT_FOR - 0.01
    assert [await number_of(kept), source.reads] == [1, 1]
    source.now += 0.01
    assert [await number_of(kept), source.reads] == [2, 2]


async def test_a_change_during_a_read_is_shown_a_second_after_the_read_began() -> None:
    source = Source()
    kept = source.kept()
    source.gate.clear()
    first = asyncio.create_task(number_of(kept))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.number = 2
    source.now += KEPT_FOR
    source.gate.set()
    assert [await first, await number_of(kept)] == [1, 2]


async def test_those_who_come_during_a_read_share_it() -> None:
    source = Source()
    kept = source.kept()
    source.gate.clear()
    waiting = [asyncio.create_task(number_of(kept)) for _ in range(20)]
    while not source.reads:  # noqa: ASYNC110  one turn of the loop or two
        await asyncio.sleep(0)
    waiting[0].cancel()  # the one that began it
    source.gate.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert (ended[1:], source.reads) == ([1] * 19, 1)


async def test_a_failed_read_is_told_to_all_and_tried_again_by_the_next() -> None:
    source = Source()
    kept = source.kept()
    source.fails = True
    ended = await asyncio.gather(*(number_of(kept) for _ in range(3)), return_exceptions=True)
    assert ([type(one) for one in ended], source.reads) == ([ConnectionError] * 3, 1)
    source.fails = False
    assert [await number_of(kept), source.reads] == [1, 2]
    source.fails, source.now = True, source.now + KEPT_FOR
    with pytest.raises(ConnectionError):
        await number_of(kept)


async def test_an_unchanged_answer_is_not_compressed_again() -> None:
    source = Source()
    kept = source.kept()
    first = await kept.current()
    source.now += KEPT_FOR
    assert await kept.current() is first
    assert source.reads == 2


@pytest.mark.parametrize("path", [PLANS, CONFIG])
async def test_it_is_compressed_tagged_and_not_sent_twice(client: Client, path: str) -> None:
    async with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        small = b"".join([chunk async for chunk in answer.aiter_raw()])
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert (answer.headers["content-encoding"], gzip.decompress(small)) == ("gzip", plain.content)
    assert "content-encoding" not in plain.headers
    assert answer.headers["etag"] != plain.headers["etag"], "another coding is another representation"
    for one, coding in ((answer, "gzip"), (plain, "identity")):
        assert one.headers["content-type"] == "application/json"
        tag = one.headers["etag"]
        again = await client.get(path, headers={"Accept-Encoding": coding, "If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["vary"] == "Accept-Encoding, Origin"
        assert "ratelimit" in again.headers


@pytest.mark.parametrize("path", [PLANS, CONFIG, "/schema/openapi.json"])
async def test_a_cache_keeps_codings_apart_for_pages_of_listed_origins_too(client: Client, path: str) -> None:
    answer = await client.get(path, headers={"Origin": LISTED_ORIGIN})
    assert answer.headers["access-control-allow-origin"] == LISTED_ORIGIN
    assert answer.headers["vary"] == "Accept-Encoding, Origin"


async def test_caches_ask_each_time_whether_plans_have_changed(client: Client) -> None:
    assert (await client.get(PLANS)).headers["cache-control"] == "no-cache"


async def test_two_processes_show_a_change_a_second_after_it(database_urls: DatabaseUrls) -> None:
    """Each has connections of its own, and nothing tells either of them."""
    now = 100.0
    pools = [SystemReads(database_urls.api, name=f"test-{number}") for number in range(2)]
    lists = [KeptAnswer(PlansOnSale(pool).read, cache_control="", monotonic=lambda: now) for pool in pools]
    try:
        before = [(await kept.current()).answer("", "").content for kept in lists]
        assert before[0] == before[1]
        await change(database_urls, "UPDATE plans SET price_monthly = price_monthly + 1 WHERE name = 'Starter'")
        try:
            assert [(await kept.current()).answer("", "").content for kept in lists] == before
            now += KEPT_FOR
            after = [(await kept.current()).answer("", "").content for kept in lists]
        finally:
            await change(database_urls, "UPDATE plans SET price_monthly = price_monthly - 1 WHERE name = 'Starter'")
    finally:
        for pool in pools:
            await pool.close()
    assert after[0] == after[1] != before[0]


@pytest.fixture
def two_processes(database_urls: DatabaseUrls, valkey: str, tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of two, which share nothing but the servers."""
    with ExitStack() as running:
        addresses = []
        for number in range(2):
            address = f"http://{HOST}:{(port := choose(HOST))}"
            env = environment(database_urls, redis_url=valkey, NP_API_PORT=str(port))
            log = tmp_path / f"log-{number}"
            running.enter_context(module("billing_api", health=f"{address}/health/ready", log=log, env=env))
            addresses.append(address)
        yield addresses


async def test_a_plan_that_is_taken_off_sale_is_gone_from_every_process(
    two_processes: list[str], database_urls: DatabaseUrls
) -> None:
    def shown(number: int) -> Callable[[], bool]:
        return lambda: all(len(httpx.get(f"{each}{PLANS}").json()["items"]) == number for each in two_processes)

    assert await asyncio.to_thread(shown(3))
    await change(database_urls, "UPDATE plans SET is_active = false WHERE name = 'Starter'")
    try:
        assert await asyncio.to_thread(wait_until, shown(2), 10)
    finally:
        await change(database_urls, "UPDATE plans SET is_active = true WHERE name = 'Starter'")
