"""The command that reconciles now: its output, and its exit code."""

import asyncio
import subprocess
import sys

import pytest
from redis.asyncio import Redis

from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.writer import Writer
from core.settings import process_environment
from db.unit_of_work import Database
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import ROOT, DatabaseUrls
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild


@pytest.fixture
async def document(database: Database, writer: Writer, desk: Desk, database_urls: DatabaseUrls, redis: Redis) -> str:
    """The key of one license, projected."""
    issued = await desk.a_license(await desk.a_user())
    await Relay(database, writer, utc_now, complete=lambda: True).catch_up()
    assert await Rebuild(database, writer).look()
    return keys.document(keys.short_hash(issued.license.license_key_hash))


async def reconcile(urls: DatabaseUrls, valkey: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    env = process_environment() | {"WORKER_DATABASE_URL": urls.worker, "REDIS_URL": valkey}
    command = (sys.executable, "-m", "workers.commands.reconcile_now", *arguments)
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )


async def test_what_was_repaired_is_printed(
    document: str, database_urls: DatabaseUrls, valkey_url: str, redis: Redis
) -> None:
    await redis.delete(document)
    done = await reconcile(database_urls, valkey_url)
    assert done.returncode == 0, done.stderr
    assert "license missing" in done.stdout
    assert "differences  1\nrepaired     1\n" in done.stdout
    assert await redis.exists(document)


async def test_what_could_not_be_repaired_is_a_failure(
    document: str, database_urls: DatabaseUrls, valkey_url: str
) -> None:
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " SELECT id, 'emails', user_id, 3, 1 FROM licenses",
    )
    await change(database_urls, "DELETE FROM outbox")
    done = await reconcile(database_urls, valkey_url)
    assert done.returncode == 1, done.stderr
    assert "events wrong" in done.stdout
    assert "evidence" in done.stdout


async def test_without_redis_it_says_so(document: str, database_urls: DatabaseUrls) -> None:
    done = await reconcile(database_urls, "redis://127.0.0.1:1")
    assert done.returncode == 3
    assert "ConnectionError" in done.stderr
    assert "Traceback" not in done.stderr
