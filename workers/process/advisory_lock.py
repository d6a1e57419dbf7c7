"""Advisory lock for work that one process at a time should do; it ends with its connection."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import text

from core.parts import step
from db.unit_of_work import Database


@asynccontextmanager
async def only_one(database: Database, key: int) -> AsyncIterator[bool]:
    """Whether this process may do the work now. A lost connection loses the lock, and nobody is told."""
    async with AsyncExitStack() as closing:
        async with step():
            connection = await closing.enter_async_context(database.engine.connect())
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            alone = bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))
        try:
            yield alone
        finally:
            if alone:
                async with step():
                    await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
