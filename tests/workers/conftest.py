"""Workers on real parts: PostgreSQL with the worker's rights, Valkey, and the partners' simulators."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from redis.asyncio import Redis

from core.clock import utc_now
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.settings import api_settings
from db.unit_of_work import Database
from devstack.ports import choose
from tests.support.databases import change, engine_for, opened
from tests.support.environment import NEXTPANEL_SECRET, environment
from tests.support.people import Desk
from tests.support.processes import module
from tests.support.servers import DatabaseUrls
from tests.workers.scene import KEY, LICENSED, Scene, report_usage
from tests.workers.world import HotStore, Simulator, an_api_key, many_licenses


@pytest.fixture
async def api_database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    """As the billing API has it; empties everything when the test ends."""
    async with opened(database_urls) as database:
        yield database


@pytest.fixture
async def database(database_urls: DatabaseUrls, api_database: Database) -> AsyncIterator[Database]:
    """As the workers have it."""
    async with engine_for(database_urls.worker) as engine:
        yield Database(engine)


@pytest.fixture
def desk(database_urls: DatabaseUrls, api_database: Database) -> Desk:
    """Where people and licenses come from."""
    settings = api_settings(environment(database_urls, redis_url="redis://127.0.0.1:1"))
    return Desk(settings, api_database, utc_now)


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey) as redis:
        yield redis


@pytest.fixture
def hot_store(redis: Redis) -> HotStore:
    return HotStore(redis)


@pytest.fixture
async def writer(redis: Redis) -> Writer:
    writer = Writer(HotStoreClient(redis))
    await writer.load_functions()
    return writer


@pytest.fixture
async def scene(
    database: Database, writer: Writer, database_urls: DatabaseUrls, redis: Redis, desk: Desk
) -> AsyncIterator[Scene]:
    scene = Scene(database, writer, database_urls, redis)
    scene.digests = sorted(await many_licenses(database_urls, await desk.a_user(), LICENSED))
    await an_api_key(database_urls, await desk.a_license(await desk.a_user()), KEY)
    await report_usage(database_urls)
    await scene.relay.catch_up()
    assert await scene.rebuild.look()
    yield scene
    await change(database_urls, "DELETE FROM reconciliation_runs")


@pytest.fixture(scope="session")
def nextpanel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _simulator("nextpanel", tmp_path_factory, "--jwt-secret", NEXTPANEL_SECRET)


@pytest.fixture(scope="session")
def mail_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from _simulator("mail", tmp_path_factory)


@pytest.fixture
async def nextpanel(nextpanel_url: str) -> AsyncIterator[Simulator]:
    async with httpx.AsyncClient() as client:
        simulator = Simulator(nextpanel_url, client)
        yield simulator
        await simulator.heal()


@pytest.fixture
async def mailbox(mail_url: str) -> AsyncIterator[Simulator]:
    async with httpx.AsyncClient() as client:
        simulator = Simulator(mail_url, client)
        yield simulator
        await simulator.heal()


def _simulator(name: str, folders: pytest.TempPathFactory, *arguments: str) -> Iterator[str]:
    folder, port = folders.mktemp(name), choose("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    flags = ("--port", str(port), "--data", str(folder), *arguments)
    with module(f"devstack.simulators.{name}", *flags, health=f"{url}/health/ready", log=folder / "log"):
        yield url
