"""The audit trail's hash chain: sealed after the commit, and broken wherever a row was changed."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import pytest
import structlog
from sqlalchemy import insert, text

from core.clock import utc_now
from core.crypto.audit_chain import AuditChain, Head
from core.ids import new_id
from core.settings import process_environment, worker_settings
from db.models.messaging import AuditRow
from db.unit_of_work import Database
from devstack.postgres import Postgres
from tests.support.databases import as_owner, change, rows
from tests.support.environment import environment
from tests.support.servers import ROOT, DatabaseUrls
from workers.audit.proof import Proof, prove
from workers.audit.sealer import AuditSealer, ChainCut

CHAIN: Final = AuditChain({"a1": bytes(range(32))})
"""The key of tests.support.environment, for the processes."""


@pytest.fixture
def sealer(database: Database) -> AuditSealer:
    return AuditSealer(database, CHAIN, utc_now)


async def acts(database: Database, count: int) -> None:
    """Each in a transaction of its own."""
    for number in range(count):
        async with database.as_system(new_id()) as tx:
            await tx.audit("test.done", "test", str(number), reason="because", number=number, half=0.5)


async def proven(database: Database, *anchors: Head) -> Proof:
    return await prove(database, CHAIN, anchors)


async def test_what_has_committed_is_sealed_and_holds(database: Database, sealer: AuditSealer) -> None:
    assert await proven(database) == Proof(Head(0, bytes(32)), 0, 0.0, None)
    await acts(database, 3)
    waiting = await proven(database)
    assert (waiting.broken, waiting.waiting, waiting.head.position) == (None, 3, 0)
    assert await sealer.catch_up() == 3
    assert await sealer.catch_up() == 0
    await acts(database, 2)
    assert await sealer.catch_up() == 2
    proof = await proven(database)
    assert (proof.broken, proof.waiting, proof.head.position) == (None, 0, 5)


async def test_a_row_that_commits_late_is_sealed_late(
    database: Database, sealer: AuditSealer, database_urls: DatabaseUrls
) -> None:
    async with database.as_system() as slow:
        await slow.audit("test.slow", "test", "first id")
        await acts(database, 2)
        assert await sealer.catch_up() == 2
    assert await sealer.catch_up() == 1
    order = "SELECT action FROM audit_seals JOIN audit_log ON id = audit_id ORDER BY position"
    assert [row["action"] for row in await rows(database_urls, order)] == ["test.done", "test.done", "test.slow"]
    assert (await proven(database)).broken is None


async def test_what_was_rolled_back_is_neither_sealed_nor_missed(database: Database, sealer: AuditSealer) -> None:
    await acts(database, 1)
    async with database.as_system() as tx:
        await tx.audit("test.undone", "test", "1")
        await tx.session.rollback()
    await acts(database, 1)
    assert await sealer.catch_up() == 2
    assert (await proven(database)).broken is None


async def test_workers_at_once_make_one_chain(database: Database, database_urls: DatabaseUrls) -> None:
    sealers = [AuditSealer(database, CHAIN, utc_now) for _ in range(3)]
    for _ in range(5):
        await asyncio.gather(acts(database, 4), *(sealer.catch_up() for sealer in sealers))
    await sealers[0].catch_up()
    proof = await proven(database)
    assert (proof.broken, proof.waiting, proof.head.position) == (None, 0, 20)


async def test_two_who_both_believe_to_be_alone_make_one_chain(database: Database) -> None:
    """As after a lock that was lost with its connection: the position's key lets one of them through."""
    await acts(database, 3)
    sealers = [AuditSealer(database, CHAIN, utc_now) for _ in range(4)]
    outcomes = await asyncio.gather(*(sealer._seal_some() for sealer in sealers), return_exceptions=True)
    assert [outcome for outcome in outcomes if outcome == 3] == [3]
    assert (await proven(database)).head.position == 3


async def test_killed_in_between_nothing_is_half_done(
    database: Database, sealer: AuditSealer, database_urls: DatabaseUrls, postgres: Postgres
) -> None:
    await acts(database, 3)
    async with as_owner(database_urls) as owner:
        await owner.execute(text("LOCK TABLE audit_unsealed IN SHARE MODE"))  # seals are added, the rest must wait
        sealing = asyncio.create_task(sealer.catch_up())
        backend = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'audit_unsealed'::regclass"
        async with asyncio.timeout(20):
            while not (found := (await owner.execute(text(backend))).scalars().all()):  # noqa: ASYNC110  Postgres knows
                await asyncio.sleep(0.01)
        postgres.run_sql("SELECT pg_terminate_backend(:'pid')", pid=str(found[0]))
        with pytest.raises(Exception, match=r"terminat|closed"):
            await sealing
    assert await rows(database_urls, "SELECT count(*) FROM audit_seals") == [{"count": 0}]
    assert await sealer.catch_up() == 3
    assert (await proven(database)).broken is None


TRIGGERS: Final = ("audit_log", "audit_seals")
PLAYED: Final[Mapping[str, tuple[tuple[str, ...], str, int]]] = {
    # what the tables' owner does, what is found, and at which of ten positions
    "a word changed": (("UPDATE audit_log SET action = 'test.nothing' WHERE target_id = '4'",), "changed", 5),
    "an actor wiped": (("UPDATE audit_log SET actor_id = NULL WHERE target_id = '4'",), "changed", 5),
    "a detail changed": (
        ("UPDATE audit_log SET detail = detail || '{\"reason\": \"none\"}' WHERE target_id = '4'",),
        "changed",
        5,
    ),
    "a time moved": (("UPDATE audit_log SET at = at - interval '1 microsecond' WHERE target_id = '4'",), "changed", 5),
    "a seal changed": (("UPDATE audit_seals SET seal = sha256(seal) WHERE position = 5",), "changed", 5),
    "sealed at another time": (
        ("UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE position = 5",),
        "changed",
        5,
    ),
    "another key named": (("UPDATE audit_seals SET kid = 'a9' WHERE position = 5",), "changed", 5),
    "a row removed": (("DELETE FROM audit_log WHERE target_id = '4'",), "removed", 5),
    "a row and its seal removed": (
        (
            "DELETE FROM audit_seals WHERE position = 5",
            "DELETE FROM audit_log WHERE target_id = '4'",
        ),
        "missing",
        5,
    ),
    "a row and its seal removed, the gap closed": (
        (
            "DELETE FROM audit_seals WHERE position = 5",
            "DELETE FROM audit_log WHERE target_id = '4'",
            "UPDATE audit_seals SET position = -position WHERE position > 5",
            "UPDATE audit_seals SET position = -position - 1 WHERE position < 0",
        ),
        "changed",
        5,
    ),
    "two rows in each other's place": (
        (
            "UPDATE audit_seals SET audit_id = -1 WHERE position = 5",
            "UPDATE audit_seals SET audit_id = (SELECT id FROM audit_log WHERE target_id = '4') WHERE position = 6",
            "UPDATE audit_seals SET audit_id = (SELECT id FROM audit_log WHERE target_id = '5') WHERE position = 5",
        ),
        "changed",
        5,
    ),
    "two seals in each other's place": (
        (
            "UPDATE audit_seals SET position = -5 WHERE position = 5",
            "UPDATE audit_seals SET position = 5 WHERE position = 6",
            "UPDATE audit_seals SET position = 6 WHERE position = -5",
        ),
        "changed",
        5,
    ),
    "a row slipped in": (
        (
            "INSERT INTO audit_log (action, target_kind, target_id, detail) VALUES ('test.forged', 'test', 'x', '{}')",
            "DELETE FROM audit_unsealed",
        ),
        "inserted",
        10,
    ),
    "a row slipped in with a seal of its own": (
        (
            "INSERT INTO audit_log (action, target_kind, target_id, detail) VALUES ('test.forged', 'test', 'x', '{}')",
            "DELETE FROM audit_unsealed",
            "INSERT INTO audit_seals SELECT 11, max(id), sha256('x'), 'a1', now() FROM audit_log",
        ),
        "changed",
        11,
    ),
    "the last seals removed": (("DELETE FROM audit_seals WHERE position > 7",), "inserted", 7),
}


@pytest.mark.parametrize("hand", PLAYED.values(), ids=PLAYED.keys())
async def test_what_the_owner_of_the_tables_does_is_found(
    database: Database, sealer: AuditSealer, database_urls: DatabaseUrls, hand: tuple[tuple[str, ...], str, int]
) -> None:
    await acts(database, 10)
    await sealer.catch_up()
    await lay_hands_on(database_urls, *hand[0])
    proof = await proven(database)
    assert proof.broken is not None
    assert (proof.broken.fault, proof.broken.position) == hand[1:]


async def lay_hands_on(urls: DatabaseUrls, *statements: str) -> None:
    async with as_owner(urls) as owner:
        for table in TRIGGERS:
            await owner.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER append_only"))
        for statement in statements:
            await owner.execute(text(statement))
        for table in TRIGGERS:
            await owner.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER append_only"))


CUT: Final = (
    "DELETE FROM audit_log WHERE id IN (SELECT audit_id FROM audit_seals WHERE position > 7)",
    "DELETE FROM audit_seals WHERE position > 7",
)


async def test_a_chain_cut_off_is_found_by_an_anchor_and_by_who_has_seen_it(
    database: Database, database_urls: DatabaseUrls
) -> None:
    told: list[bool] = []
    sealer = AuditSealer(database, CHAIN, utc_now, whole=told.append)
    await acts(database, 10)
    with structlog.testing.capture_logs() as lines:
        await sealer.catch_up()
    [line] = [line for line in lines if line["event"] == "audit.sealed"]
    anchor = Head.read(line["head"])
    assert (await proven(database, anchor)).broken is None
    await lay_hands_on(database_urls, *CUT)
    assert (await proven(database)).broken is None, "nothing in the tables tells it"
    proof = await proven(database, anchor)
    assert proof.broken is not None
    assert (proof.broken.fault, proof.broken.position) == ("truncated", 8)
    await acts(database, 5)
    with pytest.raises(ChainCut):
        await sealer.catch_up()
    assert told[-1] is False
    assert await AuditSealer(database, CHAIN, utc_now).catch_up() == 5, "another worker knows nothing of it"
    proof = await proven(database, anchor)
    assert proof.broken is not None
    assert (proof.broken.fault, proof.broken.position) == ("truncated", 10), "a chain that grew on over the cut"


async def test_without_the_key_no_seal_can_be_made(database: Database, database_urls: DatabaseUrls) -> None:
    await acts(database, 3)
    await AuditSealer(database, AuditChain({"a1": bytes(32)}), utc_now).catch_up()
    proof = await proven(database)
    assert proof.broken is not None
    assert (proof.broken.fault, proof.broken.position) == ("changed", 1)


async def test_texts_that_nobody_should_write_are_sealed_like_any_other(
    database: Database, sealer: AuditSealer, database_urls: DatabaseUrls
) -> None:
    await change(
        database_urls,
        "INSERT INTO audit_log (action, target_kind, target_id, detail) VALUES"
        " (E'a\\nb', '\"', '☃', '{\"n\": 1e400, \"s\": \"\\ud83d\\ude00\"}'),"
        " ('', '', '', 'null'), ('x', 'y', 'z', '[]')",
    )
    assert await sealer.catch_up() == 3
    assert (await proven(database)).broken is None


async def test_many_rows_are_sealed_in_parts(database: Database, sealer: AuditSealer) -> None:
    row = {"action": "test.done", "target_kind": "test", "target_id": "1", "detail": {}}
    async with database.as_system() as tx:
        await tx.session.execute(insert(AuditRow).inline(), [row] * 1201)
    assert await sealer.catch_up() == 1201
    seen: list[tuple[int, int]] = []
    proof = await prove(database, CHAIN, (), lambda done, of: seen.append((done, of)))
    assert (proof.broken, proof.head.position) == (None, 1201)
    assert seen[-1] == (1201, 1201)


async def verify(urls: DatabaseUrls, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    env = process_environment() | environment(urls, redis_url="redis://127.0.0.1:1", **settings)
    return await asyncio.to_thread(
        subprocess.run,
        (sys.executable, "-m", "workers.commands.verify_audit", *arguments),
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )


@pytest.mark.timeout(900)
async def test_the_command_says_what_holds_and_what_does_not(database: Database, database_urls: DatabaseUrls) -> None:
    keys = worker_settings(environment(database_urls, redis_url="redis://127.0.0.1:1")).audit_keys
    await acts(database, 10)
    await AuditSealer(database, AuditChain(keys), utc_now).catch_up()
    done = await verify(database_urls)
    assert done.returncode == 0, done.stderr
    assert "holds        10 links\nwaiting      0 rows" in done.stdout
    head = done.stdout.split()[-1]
    await lay_hands_on(database_urls, *CUT)
    done = await verify(database_urls, "--head", head)
    assert done.returncode == 1
    assert done.stdout.startswith("BROKEN       truncated at position 8: it reached position 10 once\n")
    assert (await verify(database_urls, "--head", "nonsense")).returncode == 2
    assert "NP_AUDIT_KEYS" in (await verify(database_urls, NP_AUDIT_KEYS="")).stderr
