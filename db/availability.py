"""Availability of the database: tells a server that is away from a statement that is wrong.

SQLAlchemy names a failure after the driver's class. What a server says while it stops, recovers or starts has no class
of its own there: it comes as a bare DBAPIError, and its SQLSTATE decides. An internal error without a SQLSTATE is the
driver's: its connection broke off in the middle of an exchange. Where asyncpg is called directly, its own errors come.
"""

from typing import Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

_BUSY: Final = frozenset({"55P03", "57014", "25P03", "25P04"})
"""Time limits: of a lock, a statement, an idle transaction, a transaction. db/migrate.py sets them."""
_CLASSES: Final = ("08", "53", "57P", "25006", "28", "3D000", "55000")
"""How the SQLSTATE begins: no connection, no resources, not serving now, read-only; then those of a server that refuses
every login: login refused, no such database, a database that takes no connections (PostgreSQL's appendix A)."""
_GONE: Final = frozenset({"25006", "57P01", "57P02", "57P03", "57P04"})
"""Read-only, shut down, crashed, starting, dropped. The host name may lead elsewhere by now, this connection not."""

READ_ONLY: Final = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
"""Whether a server takes no writes: a standby, or a primary that was told to take none."""


def is_busy(failure: Exception) -> bool:
    """Whether the database is there, but its connections or locks are taken at the moment."""
    return isinstance(failure, PoolTimeout) or _state(failure) in _BUSY


def is_absence(failure: Exception) -> bool:
    """Whether the database is away or busy: the same statement may succeed later."""
    if is_busy(failure):
        return True
    if isinstance(failure, asyncpg.PostgresError):
        return _state(failure).startswith(_CLASSES)
    if isinstance(failure, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return True
    if not isinstance(failure, DBAPIError):
        return isinstance(failure, PoolTimeout | ConnectionError)
    if failure.connection_invalidated or isinstance(failure, OperationalError | InterfaceError):
        return True
    state = _state(failure)
    return state.startswith(_CLASSES) if state else isinstance(failure, InternalError)


def is_gone(failure: BaseException | None) -> bool:
    """Whether the server at the other end is not (or no longer) a primary: then all connections to it are given up.

    `failure` is the driver's own, or as SQLAlchemy has wrapped it.
    """
    return failure is not None and _state(failure) in _GONE


def _state(failure: BaseException) -> str:
    """The SQLSTATE; empty where there is none."""
    said = failure.orig if isinstance(failure, DBAPIError) else failure
    return getattr(said, "sqlstate", None) or ""
