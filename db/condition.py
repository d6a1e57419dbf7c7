"""Health probe of PostgreSQL: the state that API and workers show at /health/dependencies.

It has a connection of its own, so that it waits in no pool and takes no place in one. The connection is kept while the
server serves, and dropped when it does not. So the next look goes where the server's name leads by then.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # ships no types

from core.health import Dependency
from db.availability import READ_ONLY
from db.engine import CONNECT_WITHIN, server_settings

CONNECTIONS: Final = 1
"""Of a process."""

_LOADING: Final = (asyncpg.CannotConnectNowError,)
_UNFIT: Final = (
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,  # no such database
    asyncpg.ObjectNotInPrerequisiteStateError,  # one that takes no connections
)
"""It refuses every login."""


class PostgresCondition:
    def __init__(self, url: str, *, name: str) -> None:
        """`url` is a plain postgresql:// URL; `name` shows in pg_stat_activity."""
        self._url = url
        self._settings = server_settings(f"{name}-health")
        self._connection: Any = None

    async def look(self) -> Dependency:
        """Raises where there is no answer (core.health.Lookout takes that for a silent server)."""
        try:
            if self._connection is not None:
                with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # cut meanwhile: dial again
                    if not await self._connection.fetchval(READ_ONLY):
                        return Dependency.OK
                self._drop()
            self._connection = await asyncpg.connect(self._url, timeout=CONNECT_WITHIN, server_settings=self._settings)
            if not await self._connection.fetchval(READ_ONLY):
                return Dependency.OK
        except _LOADING:
            state = Dependency.LOADING
        except _UNFIT:
            state = Dependency.UNFIT
        except (Exception, asyncio.CancelledError):
            self._drop()
            raise
        else:
            state = Dependency.READ_ONLY
        self._drop()
        return state

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
