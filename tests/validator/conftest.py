"""One Valkey and one validator for all tests that leave both unchanged; tests of outages have their own."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from redis.asyncio import Redis

from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.servers import running
from tests.validator.stage import HOST, Panel, Projection, Running, ready, relayed, validator


@pytest.fixture(scope="session")
def hot_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that is not shared: other tests empty theirs at any time."""
    folder = tmp_path_factory.mktemp("hot")
    server = Valkey(data=folder, port=choose(HOST), fast=True)
    with running(server, folder / "log"):
        yield server


@pytest.fixture(scope="session")
async def projection(hot_valkey: Valkey) -> AsyncIterator[Projection]:
    async with Redis.from_url(hot_valkey.url) as redis:
        projection = Projection(redis)
        await projection.load()
        with relayed(hot_valkey.url):
            yield projection


@pytest.fixture(scope="session")
def shared_validator(
    hot_valkey: Valkey, projection: Projection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with validator(hot_valkey.url, tmp_path_factory.mktemp("validator") / "log") as process:
        assert ready(process.url), process.log.read_text()
        yield process


@pytest.fixture
async def client(shared_validator: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=shared_validator.url, timeout=5) as client:
        yield client


@pytest.fixture
async def panel(client: httpx.AsyncClient, projection: Projection) -> Panel:
    """A panel with a platform key."""
    return Panel(client, await projection.api_key())
