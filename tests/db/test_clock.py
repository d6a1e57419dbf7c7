"""Statements read the time through np_now() and np_statement_now() alone, so that a devstack can move it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text

from db.unit_of_work import Database
from tests.support.databases import opened
from tests.support.servers import ROOT, DatabaseUrls

_SHIPPED: Final = ("billing_api", "core", "db", "validator", "workers")
_OTHER_CLOCKS: Final = re.compile(
    r"(?<![\w.])now\(\)|func\.now\b|\b(statement_timestamp|clock_timestamp|transaction_timestamp|CURRENT_TIMESTAMP)\b"
    r"|datetime\.now\b|\btime\.time\b"
)
_ALLOWED: Final = {
    "core/clock.py": "the one file that reads a clock",
    "db/clock.py": "says what the two functions are in production",
}


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with opened(database_urls) as database:
        yield database


def _names_a_clock(file: Path) -> bool:
    lines = file.read_text(encoding="utf-8").splitlines()
    return any(_OTHER_CLOCKS.search(line) for line in lines)


def test_no_file_reads_another_clock() -> None:
    files = [file for folder in _SHIPPED for file in (ROOT / folder).rglob("*.py") if "migrations" not in file.parts]
    found = {str(file.relative_to(ROOT)) for file in files if _names_a_clock(file)}
    assert found == set(_ALLOWED)


async def test_no_default_and_no_function_of_the_database_reads_another_clock(database: Database) -> None:
    defaults = text("SELECT adrelid::regclass || '.' || adnum, pg_get_expr(adbin, adrelid) FROM pg_attrdef")
    functions = text(
        "SELECT proname, prosrc FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"
        " WHERE nspname = 'public' AND proname NOT IN ('np_now', 'np_statement_now')"
    )
    async with database.as_system() as tx:
        rows = [*await tx.session.execute(defaults), *await tx.session.execute(functions)]
    assert sum("np_now()" in source for _, source in rows) > 30
    assert [name for name, source in rows if _OTHER_CLOCKS.search(source)] == []


async def test_in_production_the_functions_are_the_databases_own_clock_and_inlined(database: Database) -> None:
    async with database.as_system() as tx:
        same = await tx.session.scalar(text("SELECT np_now() = now() AND np_statement_now() = statement_timestamp()"))
        plan = await tx.session.scalars(text("EXPLAIN (VERBOSE) SELECT id FROM outbox WHERE due_at <= np_now()"))
        shown = "\n".join(plan)
    assert same is True
    assert "np_now" not in shown
    assert "now()" in shown
