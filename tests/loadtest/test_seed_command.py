"""`python -m loadtest.seed`: its files, fresh sets, appending, removing."""

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.settings import validator_settings
from loadtest.seed_files import SeedFiles
from tests.loadtest.command import run
from tests.support.databases import opened, rows
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def settings(database_urls: DatabaseUrls, valkey: str) -> AsyncIterator[dict[str, str]]:
    async with opened(database_urls):
        yield environment(database_urls, redis_url=valkey)


async def stored_hashes(urls: DatabaseUrls) -> set[bytes]:
    return {row["license_key_hash"] for row in await rows(urls, "SELECT license_key_hash FROM licenses")}


async def test_seed_append_begin_anew_and_remove(
    settings: dict[str, str], database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    files, index = SeedFiles(tmp_path), validator_settings(settings).secrets.index

    async def agree() -> set[str]:
        keys = files.read_keys()
        assert {index.digest("license_key", key) for key in keys} == await stored_hashes(database_urls)
        return set(keys)

    done = run("seed", "--licenses", "300", "--customers", "5", data=tmp_path, env=settings)
    assert done.returncode == 0, done.stderr
    assert "300 licenses for 5 customers" in done.stdout
    first = await agree()
    assert len(first) == 300
    assert len(files.read_customers()) == 5

    assert run("seed", "--licenses", "20", "--append", data=tmp_path, env=settings).returncode == 0
    both = await agree()
    assert len(both) == 320
    assert first < both
    assert len(files.read_customers()) == 6

    anew = run("seed", "--licenses", "10", data=tmp_path, env=settings)
    assert "removed from earlier seeds: 320 licenses" in anew.stdout
    assert not await agree() & both

    assert run("seed", "--remove", data=tmp_path, env=settings).returncode == 0
    assert await agree() == set()
    assert files.read_customers() == []
    assert await rows(database_urls, "SELECT * FROM users") == []


async def test_its_files_are_for_the_owner_alone(settings: dict[str, str], tmp_path: Path) -> None:
    assert run("seed", "--licenses", "3", data=tmp_path, env=settings).returncode == 0
    files = SeedFiles(tmp_path)
    for file in (files.keys, files.customers):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_every_customer_gets_licenses(
    settings: dict[str, str], database_urls: DatabaseUrls, tmp_path: Path
) -> None:
    assert run("seed", "--licenses", "40", "--customers", "8", data=tmp_path, env=settings).returncode == 0
    found = await rows(database_urls, "SELECT count(*) AS number FROM licenses GROUP BY user_id")
    assert [row["number"] for row in found] == [5] * 8


def test_nothing_is_seeded_into_what_may_be_production(tmp_path: Path) -> None:
    refused = run("seed", data=tmp_path, env={"NP_ENVIRONMENT": "production"})
    assert refused.returncode == 1
    assert "make up" in refused.stderr


def test_settings_that_are_missing_are_named(tmp_path: Path) -> None:
    refused = run("seed", data=tmp_path, env={"NP_ENVIRONMENT": "devstack"})
    assert refused.returncode == 1
    assert "NP_KEK is not set" in refused.stderr
