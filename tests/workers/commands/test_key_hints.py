"""Filling of key hints: every license gets its key's last four symbols, wherever a run is killed."""

import asyncio

import pytest
from sqlalchemy import text

from billing_api.licensing.licenses.issuing import Issued
from core.crypto.sealing import Sealer
from core.licensing import key as license_key
from db.unit_of_work import Database
from tests.support.databases import as_owner, change, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from workers.commands import fill_key_hints
from workers.commands.key_hints import KeyHints

FORGET = "UPDATE licenses SET key_hint = NULL"


@pytest.fixture
def sealer(desk: Desk) -> Sealer:
    return desk.settings.secrets.sealer


async def old_licenses(desk: Desk, urls: DatabaseUrls, number: int) -> list[Issued]:
    """Licenses as they were before there were hints."""
    owner = await desk.a_user()
    issued = [await desk.a_license(owner) for _ in range(number)]
    await change(urls, FORGET)
    return issued


async def hints(urls: DatabaseUrls) -> dict[str, str | None]:
    return {str(row["id"]): row["key_hint"] for row in await rows(urls, "SELECT id, key_hint FROM licenses")}


def expected(issued: list[Issued]) -> dict[str, str]:
    return {str(one.license.id): one.key[-4:] for one in issued}


async def test_every_license_gets_the_end_of_its_key(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    issued = await old_licenses(desk, database_urls, 5)
    seen = []
    filled = await KeyHints(database, sealer, at_once=2).fill(lambda done, of: seen.append((done, of)))
    assert (filled.done, filled.left, filled.unreadable) == (5, 0, {})
    assert await hints(database_urls) == expected(issued)
    assert seen[-1] == (5, 5)
    assert (await KeyHints(database, sealer).fill()).done == 0


async def test_a_hint_is_no_change_of_the_license(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    """Of a million licenses it would make a million projections and leases."""
    facts = "SELECT version, updated_at FROM licenses ORDER BY id"
    await old_licenses(desk, database_urls, 2)
    await change(database_urls, "DELETE FROM outbox")
    before = await rows(database_urls, facts)
    await KeyHints(database, sealer).fill()
    assert await rows(database_urls, facts) == before
    assert await rows(database_urls, "SELECT job FROM outbox") == []
    await change(database_urls, "UPDATE licenses SET max_domains = 1, key_hint = NULL")
    assert [row["version"] for row in await rows(database_urls, facts)] == [row["version"] + 1 for row in before]


async def test_a_run_that_was_killed_goes_on_and_two_share_the_work(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    issued = await old_licenses(desk, database_urls, 9)

    def killed(done: int, _of: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await KeyHints(database, sealer, at_once=2).fill(killed)
    assert sum(hint is not None for hint in (await hints(database_urls)).values()) == 4
    one, other = await asyncio.gather(*(KeyHints(database, sealer, at_once=1).fill() for _ in range(2)))
    assert (one.done + other.done, one.left, other.left) == (5, 0, 0)
    assert await hints(database_urls) == expected(issued)


async def test_a_row_that_somebody_holds_is_left_for_later(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    issued = await old_licenses(desk, database_urls, 3)
    async with as_owner(database_urls) as owner:
        await owner.execute(text("UPDATE licenses SET max_domains = 7 WHERE id = :id"), {"id": issued[1].license.id})
        filled = await KeyHints(database, sealer).fill()
        assert (filled.done, filled.left, filled.unreadable) == (2, 1, {})
    assert (await KeyHints(database, sealer).fill()).left == 0


async def test_what_cannot_be_opened_is_told_and_keeps_nothing_else_back(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    issued = await old_licenses(desk, database_urls, 3)
    spoilt = issued[0].license.id
    await change(database_urls, "UPDATE licenses SET license_key = 'k0.' || license_key WHERE id = :id", id=spoilt)
    filled = await KeyHints(database, sealer, at_once=1).fill()
    assert (filled.done, filled.left, list(filled.unreadable)) == (2, 1, [spoilt])


async def test_a_release_without_hints_leaves_none_behind_that_is_wrong(
    desk: Desk, database: Database, database_urls: DatabaseUrls, sealer: Sealer
) -> None:
    """It rotates a key, and does not know that its hint has to follow."""
    issued = await desk.a_license(await desk.a_user())
    other = license_key.generate(desk.settings.secrets.license_checksum_key)
    secrets = desk.settings.secrets
    await change(
        database_urls,
        "UPDATE licenses SET license_key = :sealed, license_key_hash = :hash",
        sealed=secrets.sealer.seal(other.encode(), context=f"licenses.license_key:{issued.license.id}"),
        hash=secrets.index.digest("license_key", other),
    )
    assert await hints(database_urls) == {str(issued.license.id): None}
    await KeyHints(database, sealer).fill()
    assert await hints(database_urls) == {str(issued.license.id): other[-4:]}


@pytest.fixture
def _workers_settings(database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(database_urls, redis_url="redis://127.0.0.1:1").items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_workers_settings")
async def test_the_command_counts_fills_and_proves(
    desk: Desk, database_urls: DatabaseUrls, capsys: pytest.CaptureFixture[str]
) -> None:
    issued = await old_licenses(desk, database_urls, 2)
    assert await asyncio.to_thread(fill_key_hints.main, ["--count"]) == 1
    assert "2 without a hint" in capsys.readouterr().out
    assert await asyncio.to_thread(fill_key_hints.main, []) == 0
    out = capsys.readouterr().out
    assert "filled       2 licenses" in out
    assert "every license has a hint" in out
    assert await hints(database_urls) == expected(issued)
    assert not any(one.key in out for one in issued)


@pytest.mark.usefixtures("_workers_settings")
async def test_the_command_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as helped:
        fill_key_hints.main(["--help"])
    assert helped.value.code == 0
    assert "may be killed and run again" in capsys.readouterr().out
    monkeypatch.setenv("WORKER_DATABASE_URL", "postgresql://np_worker:x@127.0.0.1:1/nothing")
    assert await asyncio.to_thread(fill_key_hints.main, []) == 3
    assert "run it again" in capsys.readouterr().err
    monkeypatch.delenv("NP_KEK")
    assert fill_key_hints.main([]) == 2
    assert "NP_KEK" in capsys.readouterr().err
