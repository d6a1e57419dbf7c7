"""The health probe of PostgreSQL: the states it finds over a connection of its own."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from core.health import Dependency
from db.condition import PostgresCondition
from devstack.ports import choose
from devstack.postgres import Postgres
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def condition(database_urls: DatabaseUrls) -> AsyncIterator[PostgresCondition]:
    condition = PostgresCondition(database_urls.api, name="tests")
    yield condition
    condition.close()


async def test_a_server_that_takes_writes_is_fine_and_its_connection_is_kept(condition: PostgresCondition) -> None:
    assert await condition.look() is Dependency.OK
    kept = condition._connection
    assert await condition.look() is Dependency.OK
    assert condition._connection is kept


async def test_a_connection_that_was_cut_is_no_news(condition: PostgresCondition, postgres: Postgres) -> None:
    assert await condition.look() is Dependency.OK
    pid = condition._connection.get_server_pid()
    postgres.run_sql("SELECT pg_terminate_backend(:'pid')", pid=str(pid))
    assert await condition.look() is Dependency.OK


async def test_a_server_that_takes_no_writes_is_dialed_anew_each_time(database_urls: DatabaseUrls) -> None:
    """Then the name may point to another one by the next look."""
    parts = urlsplit(database_urls.api)
    read_only = urlunsplit(parts._replace(query="options=-c%20default_transaction_read_only%3Don"))
    condition = PostgresCondition(read_only, name="tests")
    for _ in range(2):
        assert await condition.look() is Dependency.READ_ONLY
        assert condition._connection is None


async def test_nobody_at_the_address_is_raised(database_urls: DatabaseUrls) -> None:
    parts = urlsplit(database_urls.api)
    nowhere = parts._replace(netloc=f"np_api:x@127.0.0.1:{choose('127.0.0.1')}")
    with pytest.raises(OSError, match="onnect"):
        await PostgresCondition(urlunsplit(nowhere), name="tests").look()


async def test_a_login_that_is_refused_makes_it_unfit(database_urls: DatabaseUrls) -> None:
    parts = urlsplit(database_urls.api)
    stranger = parts._replace(netloc=f"nobody:x@{parts.hostname}:{parts.port}")
    assert await PostgresCondition(urlunsplit(stranger), name="tests").look() is Dependency.UNFIT


@pytest.mark.parametrize("name", ["template0", "nowhere"])
async def test_a_database_that_takes_no_connections_makes_it_unfit(database_urls: DatabaseUrls, name: str) -> None:
    url = urlunsplit(urlsplit(database_urls.api)._replace(path=f"/{name}"))
    assert await PostgresCondition(url, name="tests").look() is Dependency.UNFIT


async def test_a_look_that_is_given_up_leaves_no_connection(condition: PostgresCondition) -> None:
    assert await condition.look() is Dependency.OK
    looking = asyncio.create_task(condition.look())
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait({looking})
    assert condition._connection is None
    assert await condition.look() is Dependency.OK
