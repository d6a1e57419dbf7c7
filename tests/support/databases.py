"""The test worker's database, with the API's rights, emptied after each test.

Connections stay open from one test to the next, in one pool for each login. A new connection costs ten times as much as
a small statement, and most tests need several.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import Select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from db.engine import create_engine
from db.models.all_tables import METADATA
from db.unit_of_work import Database
from tests.support.servers import DatabaseUrls

_SEEDED: Final = frozenset({"plans", "projection_epoch"})
"""Tables with rows from migrations, which every test finds."""
_LARGE: Final = 256 * 1024
"""Bytes of a table."""
_KEPT_CONNECTIONS: Final = 10
_KEPT: Final[dict[tuple[asyncio.AbstractEventLoop, str], AsyncEngine]] = {}
"""By event loop and URL."""


@asynccontextmanager
async def kept(urls: DatabaseUrls) -> AsyncIterator[None]:
    """Keeps connections of this event loop to this database open while the block runs."""
    loop = asyncio.get_running_loop()
    engines = {
        (loop, url): create_engine(url, pool_size=_KEPT_CONNECTIONS, name="test-kept")
        for url in (urls.owner, urls.api, urls.worker)
    }
    _KEPT.update(engines)
    try:
        yield
    finally:
        for key, engine in engines.items():
            del _KEPT[key]
            await engine.dispose()


@asynccontextmanager
async def engine_for(url: str, *, pool_size: int | None = None) -> AsyncIterator[AsyncEngine]:
    """The kept engine for this URL. A new one, for this block, if there is none or the test sets the pool's size."""
    engine = _KEPT.get((asyncio.get_running_loop(), url)) if pool_size is None else None
    if engine is not None:
        yield engine
        return
    engine = create_engine(url, pool_size=pool_size or _KEPT_CONNECTIONS, name="test")
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def opened(urls: DatabaseUrls, *, pool_size: int | None = None) -> AsyncIterator[Database]:
    """Tests commit, as the application does; the rows are deleted at the end of the block."""
    try:
        async with engine_for(urls.api, pool_size=pool_size) as engine:
            yield Database(engine)
    finally:
        await _empty(urls)


@asynccontextmanager
async def as_owner(urls: DatabaseUrls) -> AsyncIterator[AsyncConnection]:
    """A committed read or write without row-level security: to arrange a state, or to see the real one."""
    async with engine_for(urls.owner) as engine, engine.begin() as connection:
        yield connection


async def rows(urls: DatabaseUrls, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """Rows, read without row-level security."""
    async with as_owner(urls) as owner:
        return [dict(row) for row in (await owner.execute(text(statement), parameters)).mappings()]


async def change(urls: DatabaseUrls, statement: str, **parameters: Any) -> int:
    """Makes a change that no code under test would make; returns how many rows it changed."""
    async with as_owner(urls) as owner:
        return (await owner.execute(text(statement), parameters)).rowcount


async def plan_of(session: AsyncSession, statement: Select[*tuple[Any, ...]]) -> str:
    """How PostgreSQL would perform the statement, with its values in it."""
    said = str(statement.compile(dialect=session.get_bind().dialect, compile_kwargs={"literal_binds": True}))
    return "\n".join(await session.scalars(text("EXPLAIN " + said.replace(":", r"\:"))))


async def _empty(urls: DatabaseUrls) -> None:
    # Deleting a few rows takes a hundredth of the time of TRUNCATE, which makes new files for every table and index.
    # But deleting 20,000 takes seconds, and deleted rows stay in their files, where each later statement reads them.
    # The audit trail is truncated, because its rows cannot be deleted.
    trail = ("audit_log", "audit_seals")
    tables = [table.name for table in reversed(METADATA.sorted_tables) if table.name not in _SEEDED]
    deletions = " ".join(f"DELETE FROM {name};" for name in tables if name not in trail)
    audit_trail = " ".join(f"IF EXISTS (SELECT FROM {name}) THEN TRUNCATE {name}; END IF;" for name in trail)
    large = (
        "EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        f" AND relname NOT IN ({', '.join(map(repr, sorted(_SEEDED)))}) AND pg_relation_size(oid) > {_LARGE})"
    )
    either = f"IF {large} THEN TRUNCATE {', '.join(tables)}; ELSE {deletions} {audit_trail} END IF;"
    # Plans of a test's own go; those of the migration stay.
    theirs = "SELECT id FROM plans WHERE code NOT IN ('starter', 'professional', 'enterprise')"
    either += f" DELETE FROM plan_prices WHERE plan_id IN ({theirs}); DELETE FROM plans WHERE id IN ({theirs});"
    async with as_owner(urls) as owner:
        await owner.execute(text(f"DO $$ BEGIN {either} END $$".replace(":", r"\:")))


async def until_blocked(urls: DatabaseUrls, number: int = 1) -> None:
    """Waits until so many statements in this database wait for locks of other transactions."""
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while len(await rows(urls, waiting)) < number:  # noqa: ASYNC110  the server sends no event for this
            await asyncio.sleep(0.01)
