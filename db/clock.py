"""Clock of the database, as expressions: the only names by which statements read the time.

In production they are now() and statement_timestamp(); in a devstack, these and the seconds by which its time is moved
(db/migrations/versions/0038_clock.sql). As text: np_now() and np_statement_now().
"""

from datetime import datetime
from typing import Final

from sqlalchemy import DateTime, func, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.functions import Function

NOW: Final[Function[datetime]] = func.np_now(type_=DateTime(timezone=True))
"""When the transaction began."""

STATEMENT_NOW: Final[Function[datetime]] = func.np_statement_now(type_=DateTime(timezone=True))
"""When the statement began."""

_FOLLOW: Final = text("UPDATE np_moved_clock SET seconds = :seconds WHERE seconds <> :seconds")


async def follow(session: AsyncSession, seconds: int) -> None:
    """In a devstack: from the next transaction on, SQL's time is moved by so many seconds (devstack/moved_clock.py)."""
    await session.execute(_FOLLOW, {"seconds": seconds})
