"""Servers that every test may ask for. They are real, and each run of pytest has its own.

PostgreSQL is started once a run, by the process that outlives all others: pytest itself, or xdist's controller, which
tells its workers where. The schema is migrated once into a template; each worker works in its own copy of it. Valkey
starts in a few hundredths of a second, so each worker has one to itself.
"""

import fcntl
import gc
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from httpx import create_ssl_context
from typing_extensions import override
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # nobody has typed it

from core.telemetry import PROCESSORS
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from tests.support import calendars, quick, second_chance
from tests.support.databases import kept
from tests.support.no_process import no_process
from tests.support.secrecy import LEAK, WATCH
from tests.support.secrets_in_use import noticed
from tests.support.servers import (
    OWNER,
    PASSWORD,
    DatabaseUrls,
    database,
    migrate,
    postgres_server,
    running,
)

_TESTS: Final = Path(__file__).parent
_LONG: Final = (
    "chaos/test_short_run.py",
    "e2e/",
    "clients/test_facts.py",
    "workers/process/test_process.py",
    "workers/reconciliation/test_run.py",
    "billing_api/walks/",
    "billing_api/server/test_",
    "devstack/test_servers_for_tests.py",
    "core/hotstore/test_histories.py",
    "loadtest/test_se",
)
"""What the list of the slowest tests, at the end of each run, is full of."""
_TEMPLATE: Final = "np_template"
_RUN: Final = pytest.StashKey[ExitStack]()
_SERVER: Final = pytest.StashKey[Postgres]()


def pytest_addoption(parser: pytest.Parser) -> None:
    second_chance.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = ExitStack()
    second_chance.configure(config)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    only_calendars = config.option.markexpr == "calendar" and collection_path.match("test_*.py")
    return True if only_calendars and not calendars.may_be_in(collection_path) else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Garbage collection: modules and thousands of tests stay until the end, so it passes them over from here on."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)  # as in the API's processes


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    calendars.mark(items)
    quick.mark(items)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Files that take long come first and quick ones last, so that no worker is left alone with a long one."""
    if item.path.is_relative_to(_TESTS) and item.path.relative_to(_TESTS).as_posix().startswith(_LONG):
        return 0
    return 2 if item.get_closest_marker("quick") else 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """A test that is marked quick starts no process: in every run, not only where all are quick."""
    with _promised(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    with _promised(item):
        return (yield)


def _promised(item: pytest.Item) -> AbstractContextManager[None]:
    # The end is left out: after the last test of all, what others have started is ended, with psql among other things.
    return no_process() if item.get_closest_marker("quick") else nullcontext()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_RUN].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Xdist's controller prepares a worker."""
    if node.config.option.markexpr == "quick":
        return  # nobody will ask for a server
    facts = asdict(_server(node.config))
    node.workerinput["postgres"] = facts | {"data": str(facts["data"])}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return ByFileButOneStack(config, log) if config.getvalue("dist") == "loadfile" else None


class ByFileButOneStack(LoadFileScheduling):  # type: ignore[misc]  # as above
    """A file's tests run on one worker, and all that share the whole stack do: it takes long to start."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else str(super()._split_scope(nodeid))


def _server(config: pytest.Config) -> Postgres:
    if _SERVER not in config.stash:
        facts: dict[str, Any] | None = getattr(config, "workerinput", {}).get("postgres")
        if facts is None:
            config.stash[_SERVER] = config.stash[_RUN].enter_context(postgres_server())
        else:
            config.stash[_SERVER] = Postgres(**facts | {"data": Path(facts["data"])})
    return config.stash[_SERVER]


@pytest.fixture(scope="session", autouse=True)
def _one_tls_context() -> Iterator[None]:
    """The httpx clients of this process share their TLS contexts.

    A client reads all certificate authorities, also where it speaks plain HTTP: 16 ms of CPU, for thousands of clients.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", cache(create_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def secrecy() -> Iterator[None]:
    """Nothing that was secret in this run can be read in its logs and refusals. Looked for when all tests are over."""
    with noticed():
        yield
    if leaks := WATCH.leaks():
        pytest.fail("\n".join([LEAK, *map(str, leaks)]), pytrace=False)


@pytest.fixture(autouse=True)
def _watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Logs are written as in production, and put down to the test that wrote them."""
    WATCH.test = request.node.nodeid
    structlog.configure(processors=[*PROCESSORS, WATCH.hear_line])
    yield
    WATCH.catch_up()


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Postgres]:
    """The run's PostgreSQL server."""
    server = _server(pytestconfig)
    WATCH.learn("database password", PASSWORD)
    with WATCH.following(server.data.parent / "postgres.log"):
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: Postgres) -> str:
    """The name of a database with the newest schema, to be copied, never connected to."""
    with (postgres.data.parent / "template.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # the first worker makes it, the others wait for that
        if not postgres.run_sql("SELECT 1 FROM pg_database WHERE datname = :'name'", name=_TEMPLATE):
            postgres.ensure_database("np_unfinished", owner=OWNER, password=PASSWORD)
            migrate(DatabaseUrls.of(postgres, "np_unfinished"))
            postgres.run_sql(f"ALTER DATABASE np_unfinished RENAME TO {_TEMPLATE}")
    return _TEMPLATE


@pytest.fixture(scope="session")
async def database_urls(postgres: Postgres, migrated_template: str) -> AsyncIterator[DatabaseUrls]:
    """The worker's own database with the newest schema. Who commits in it truncates afterwards."""
    with database(postgres, migrated_template) as urls:
        async with kept(urls):
            yield urls


@pytest.fixture
def empty_database_urls(postgres: Postgres) -> Iterator[DatabaseUrls]:
    """A database without a schema, for this test only."""
    with database(postgres) as urls:
        yield urls


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The worker's own Valkey server."""
    folder = tmp_path_factory.mktemp("valkey")
    server = Valkey(data=folder, port=choose("127.0.0.1"), fast=True)
    with running(server, folder / "log"):
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey_server: Valkey) -> str:
    """The address of the worker's Valkey, whatever is in it."""
    return valkey_server.url


@pytest.fixture
def valkey(valkey_server: Valkey) -> str:
    """The address of the worker's Valkey, emptied: no keys, no functions."""
    assert valkey_server.call("FLUSHALL") == "+OK"
    assert valkey_server.call("FUNCTION", "FLUSH") == "+OK"
    return valkey_server.url
