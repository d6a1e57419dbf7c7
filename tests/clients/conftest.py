"""The client package under test, from its own folder; real processes of the service, and small servers that misbehave.

The package is put on the path here, for it is not installed beside the service: it belongs to NextPanel's environment.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.clock import utc_now
from core.settings import api_settings
from db.engine import create_engine
from db.unit_of_work import Database
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.servers import ROOT, database, running

sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

from tests.clients.scripted import ScriptedServer
from tests.clients.service import Service


@pytest.fixture(scope="module")
def service(postgres: Postgres, migrated_template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Billing API, validator and worker in processes of their own, with a database and a Valkey of their own."""
    folder = tmp_path_factory.mktemp("service")
    with ExitStack() as stack:
        urls = stack.enter_context(database(postgres, migrated_template))
        valkey = Valkey(data=folder / "valkey", port=choose("127.0.0.1"), fast=True)
        stack.enter_context(running(valkey, folder / "valkey.log"))
        service = Service(urls, valkey.url, folder)
        stack.callback(service.stop)
        service.start("workers")
        service.start("billing_api")
        service.start("validator")
        yield service


@pytest.fixture
async def desk(service: Service) -> AsyncIterator[Desk]:
    """Where people and licenses come from."""
    api = Database(create_engine(service.urls.api, pool_size=2, name="test"))
    yield Desk(api_settings(environment(service.urls, redis_url=service.redis_url)), api, utc_now)
    await api.close()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """Answers what it is told to answer."""
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The client's file."""
    return tmp_path / "billing.db"
