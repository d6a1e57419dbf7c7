"""Time of the database in a devstack: `python -m devstack.moved_clock`, after the migrations, as the schema's owner.

np_now() and np_statement_now() are replaced by functions that add the seconds of a table with one row. The workers set
that row to what stands in the stack's clock file (core/clock.py), here it is set for the start. The functions are not
inlined any more: some microseconds each, which a devstack can afford.
"""

import asyncio
from typing import Final

from sqlalchemy import text

from core.clock import MOVED
from core.settings import migration_settings
from db.engine import create_engine

_FUNCTION: Final = """
    CREATE OR REPLACE FUNCTION {name}() RETURNS TIMESTAMP WITH TIME ZONE LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
    BEGIN
        RETURN {real}() + make_interval(secs => (SELECT seconds FROM public.np_moved_clock));
    END $$
"""
_STATEMENTS: Final = (
    """
    CREATE TABLE IF NOT EXISTS np_moved_clock (
        one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one), seconds BIGINT NOT NULL)
    """,
    "INSERT INTO np_moved_clock (seconds) VALUES (:seconds) ON CONFLICT (one) DO UPDATE SET seconds = :seconds",
    "GRANT SELECT ON np_moved_clock TO PUBLIC",
    "GRANT UPDATE ON np_moved_clock TO np_system",
    _FUNCTION.format(name="np_now", real="pg_catalog.now"),
    _FUNCTION.format(name="np_statement_now", real="pg_catalog.statement_timestamp"),
)


async def install(owner_url: str, seconds: int) -> None:
    """Idempotent."""
    engine = create_engine(owner_url, pool_size=1)
    try:
        async with engine.begin() as connection:
            for statement in _STATEMENTS:
                values = {"seconds": seconds} if ":seconds" in statement else {}
                await connection.execute(text(statement), values)
    finally:
        await engine.dispose()


def main() -> None:
    asyncio.run(install(migration_settings().owner_database_url, MOVED.seconds() if MOVED else 0))


if __name__ == "__main__":
    main()
