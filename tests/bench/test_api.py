"""A short run of the API's benchmark: each route and each layer answers, and the reports can be made of the figures.

No figure is judged: other tests run on the same machine. The yardstick needs packages that are not installed here.
"""

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import httpx
import msgspec
import pytest
from redis.asyncio import Redis

from bench.api import __main__ as bench_api
from bench.api import sampling
from bench.api.load import read_answer
from bench.api.measuring import ask
from bench.api.probed import SAMPLES
from bench.api.report import profile_text
from bench.api.routes import READS, ROUTES, requests
from bench.api.sampling import Samples
from bench.api.stage import Stage, stage_with
from bench.ledger import Ledger
from bench.load import WrongEnd
from loadtest.seed_files import SeededCustomer, SeedFiles
from loadtest.seeding import batch, people
from loadtest.seeding.catalogue import plans_for
from tests.support.databases import change, opened
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls

_CUSTOMERS = 4
_SECONDS = 0.05


@pytest.fixture
async def empty_again(database_urls: DatabaseUrls) -> AsyncIterator[None]:
    async with opened(database_urls):
        yield
        await change(database_urls, "UPDATE plans SET stripe_price_id_monthly = NULL, stripe_price_id_yearly = NULL")


@pytest.fixture
def stage(database_urls: DatabaseUrls, valkey: str, tmp_path: Path, empty_again: None) -> Iterator[Stage]:
    settings = environment(database_urls, redis_url=valkey)
    asyncio.run(_seed(settings, tmp_path))
    books = Ledger(tmp_path, settings, database_urls.owner, postgres=os.getpid(), redis=os.getpid(), license_keys=())
    with stage_with(books, min(os.sched_getaffinity(0)), connections=2, seconds=_SECONDS) as made:
        yield made


async def _seed(settings: dict[str, str], folder: Path) -> None:
    connection = await asyncpg.connect(settings["OWNER_DATABASE_URL"])
    try:
        who = await people.create(connection, _CUSTOMERS)
        plans = await plans_for(connection, "mix")
    finally:
        await connection.close()
    await batch.make(batch.Order(settings, plans, [each.id for each in who], 30 * _CUSTOMERS))
    async with Redis.from_url(settings["REDIS_URL"]) as redis:
        await redis.config_resetstat()
    SeedFiles(folder).write_customers([SeededCustomer(each.email, each.password) for each in who])


async def _functions_called(url: str) -> tuple[int, int]:
    async with Redis.from_url(url) as redis:
        facts = (await redis.info("commandstats"))["cmdstat_fcall"]
        return facts["calls"], facts["failed_calls"]


async def _yardstick(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, Any]]:
    """Status and answer of each reading route, from the yardstick's application in this process."""
    for name, value in stage.yard_env().items():
        monkeypatch.setenv(name, value)
    yard = importlib.import_module("bench.yardsticks.fastapi_api.app")
    token, license_id = stage.crowd.yard_tokens()[0], stage.crowd.people[0].license_id
    transport = httpx.ASGITransport(yard.app)
    async with yard.lifespan(yard.app), httpx.AsyncClient(transport=transport, base_url="http://yard") as http:
        http.headers["Authorization"] = f"Bearer {token}"
        paths = {route.name: f"/api/v1{route.path.format(license_id=license_id)}" for route in READS}
        found = {name: await http.get(path) for name, path in paths.items()}
    return {name: (answer.status_code, answer.json()) for name, answer in found.items()}


def _common(answer: Any, other: Any) -> Any:
    """What both show, as this one shows it, with instants in one spelling."""
    if isinstance(answer, dict):
        return {name: _common(value, other[name]) for name, value in answer.items() if name in other}
    if isinstance(answer, list):
        return [_common(one, another) for one, another in zip(answer, other, strict=True)]
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(answer)
    return answer


def test_routes_and_layers_are_measured_and_profiled_and_a_refusal_is_shown(
    stage: Stage, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = stage.bed.folder / "samples.json"
    with stage.started(stage.probed({SAMPLES: str(samples)})) as probed:
        figures = bench_api.measure_round(stage, [probed], probed, ROUTES, sign_in=True)
        strangers = stage._replace(crowd=stage.crowd._replace(env={**stage.env, "NP_JWT_KEYS": f"j1:{'A' * 43}="}))
        with pytest.raises(SystemExit, match=r"refused .* 401"):
            bench_api.measure_round(strangers, [probed], None, [ROUTES[1]], sign_in=False)
        answers = {
            route.name: ask(probed, requests(route, stage.crowd, stage.crowd.our_tokens())[0]) for route in READS
        }
    asked, failed = asyncio.run(_functions_called(valkey))
    assert asked > 10 * failed  # limits and sessions are looked up in Redis: nobody works around a server that is away
    present = {name for name, by_contender in figures.routes.items() if by_contender}
    assert {route.name for route in ROUTES} == present
    assert figures.layers.keys() == bench_api.LAYERS.keys()
    assert figures.sign_in is not None
    told = bench_api.report_of([figures, figures])
    assert all(word in told for word in (*present, *bench_api.LAYERS, "hashing"))
    for name, (status, body) in asyncio.run(_yardstick(stage, monkeypatch)).items():
        ours = msgspec.json.decode(answers[name][1])
        assert (status, _common(body, ours)) == (200, _common(ours, body)), name
    assert "litestar" in profile_text(msgspec.json.decode(samples.read_bytes(), type=Samples), micros=1000)


def test_a_file_belongs_to_its_package_or_room_and_the_standard_library_to_nobody() -> None:
    inside = str(Path(sampling.__file__).parents[2])
    assert sampling.place("/x/site-packages/litestar/app.py") == ("litestar/app.py", "litestar")
    assert sampling.place("/x/site-packages/typing_extensions.py").layer == "typing_extensions"
    assert sampling.place(f"{inside}/billing_api/web/problems.py") == ("billing_api/web/problems.py", "billing_api/web")
    assert sampling.place(f"{inside}/core/access_store/store.py").layer == "core"
    assert sampling.place("/usr/lib/python3.11/asyncio/tasks.py") == ("asyncio/tasks.py", None)


class Peer:
    """The end of a connection that hands out these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def recv(self, _: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def test_an_answer_is_read_by_its_length_however_it_is_cut() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nx: y\r\n\r\n{}{}"
    for place in range(1, len(whole)):
        assert read_answer(Peer(whole[:place], whole[place:])) == whole  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_half_an_answer_and_one_without_a_length_end_the_load(answer: bytes) -> None:
    with pytest.raises(WrongEnd):
        read_answer(Peer(answer))  # type: ignore[arg-type]  # a stand-in
