"""Whether the database is away, rather than a statement being wrong.

SQLAlchemy names a failure after the driver's class, and what a server says while it stops, recovers or starts has none
of its own there: it comes as a bare DBAPIError, and its SQLSTATE decides. An internal error without one is the
driver's: it has lost its place in a conversation that broke off. What asyncpg was asked directly it answers directly.
"""

from typing import Final

import asyncpg  # type: ignore[import-untyped]  # nobody has typed it
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_CLASSES: Final = ("08", "53", "57P")
"""How the SQLSTATE begins: no connection, no resources, not serving now (PostgreSQL's appendix A)."""


def is_absence(failure: Exception) -> bool:
    if isinstance(failure, asyncpg.PostgresError):
        return (failure.sqlstate or "").startswith(_CLASSES)
    if isinstance(failure, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return True
    if not isinstance(failure, DBAPIError):
        return isinstance(failure, PoolTimeout | ConnectionError)
    if failure.connection_invalidated or isinstance(failure, OperationalError | InterfaceError):
        return True
    state: str | None = getattr(failure.orig, "sqlstate", None)
    return isinstance(failure, InternalError) if state is None else state.startswith(_CLASSES)
