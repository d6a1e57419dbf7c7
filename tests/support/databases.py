"""The worker's database as the code under test sees it: with the API's rights, and empty again afterwards.

Connections to it stay open from one test to the next, in one pool for each login: to connect costs PostgreSQL and the
driver ten times what a small statement does, and most tests make several connections.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from db.engine import create_engine
from db.models.all_tables import METADATA
from db.unit_of_work import Database
from tests.support.servers import DatabaseUrls

_SEEDED: Final = frozenset({"plans", "projection_epoch"})
"""What migrations have put there, for every test to find."""


_KEPT_CONNECTIONS: Final = 10
_KEPT: Final[dict[tuple[asyncio.AbstractEventLoop, str], AsyncEngine]] = {}
"""By the event loop that they belong to, and the URL."""


@asynccontextmanager
async def kept(urls: DatabaseUrls) -> AsyncIterator[None]:
    """While the block runs, connections of this event loop to this database are kept open."""
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
    """The engine that is kept for this URL; one for this block, where none is, or the test asks for a pool's size."""
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
    """Tests commit, as the application does; the rows go at the end of the block."""
    try:
        async with engine_for(urls.api, pool_size=pool_size) as engine:
            yield Database(engine)
    finally:
        await _empty(urls)


@asynccontextmanager
async def as_owner(urls: DatabaseUrls) -> AsyncIterator[AsyncConnection]:
    """A committed look or change past all row security: to arrange a state, or to see what is really there."""
    async with engine_for(urls.owner) as engine, engine.begin() as connection:
        yield connection


async def rows(urls: DatabaseUrls, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """What really is there."""
    async with as_owner(urls) as owner:
        return [dict(row) for row in (await owner.execute(text(statement), parameters)).mappings()]


async def change(urls: DatabaseUrls, statement: str, **parameters: Any) -> int:
    """Arranges what no code under test would do; answers how many rows it changed."""
    async with as_owner(urls) as owner:
        return (await owner.execute(text(statement), parameters)).rowcount


async def _empty(urls: DatabaseUrls) -> None:
    # Deleting a few rows takes a hundredth of the time that TRUNCATE needs to make new files for every table and index.
    # The audit trail knows no other way: its rows cannot be deleted.
    trail = ("audit_log", "audit_seals")
    tables = [table.name for table in METADATA.sorted_tables if table.name not in {*_SEEDED, *trail}]
    deletions = " ".join(f"DELETE FROM {name};" for name in reversed(tables))
    audit_trail = " ".join(f"IF EXISTS (SELECT FROM {name}) THEN TRUNCATE {name}; END IF;" for name in trail)
    async with as_owner(urls) as owner:
        await owner.execute(text(f"DO $$ BEGIN {deletions} {audit_trail} END $$"))


async def until_blocked(urls: DatabaseUrls, number: int = 1) -> None:
    """Waits for so many statements in this database to stand at locks that other transactions hold."""
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()"
    )
    async with asyncio.timeout(10):
        while len(await rows(urls, waiting)) < number:  # noqa: ASYNC110  the server has to be asked, it does not tell
            await asyncio.sleep(0.01)
