"""Connection pool for redis-py that leaves a server that was demoted.

After a failover the name leads to the new primary, but open connections still lead to the old one. It answers every
write with READONLY (a replica without its primary: MASTERDOWN), and nothing would ever end them. So a connection that
gets such an answer is closed when it is given back, together with all idle ones: the next use resolves the name and
dials again. The command itself has failed; its sender tries again, as after any absence.
"""

from collections.abc import Iterable
from typing import Any, Final

from redis.asyncio import Connection, ConnectionPool
from redis.exceptions import ReadOnlyError, ResponseError
from typing_extensions import override

DEMOTED: Final = ("READONLY", "MASTERDOWN")
"""How the errors of a server begin that is not, or no longer, a primary."""
FULL: Final = ("OOM", "MISCONF")
"""How the errors of a server begin whose memory or disk is full."""


def is_demoted(failure: Exception) -> bool:
    return isinstance(failure, ReadOnlyError) or (
        isinstance(failure, ResponseError) and str(failure).startswith(DEMOTED)
    )


class LeavingPool(ConnectionPool):
    @classmethod
    def of(cls, url: str, **options: Any) -> "LeavingPool":
        """`options` as ConnectionPool.from_url has them. Answers are bytes."""
        pool: LeavingPool = cls.from_url(url, **options)
        return cls(connection_class=_leaving(pool.connection_class), **pool.connection_kwargs)

    @override
    async def release(self, connection: Any) -> None:
        if getattr(connection, "demoted", False):
            connection.demoted = False
            await connection.disconnect(nowait=True)
            await self.leave()
        await super().release(connection)

    async def leave(self) -> None:
        """Closes the idle connections; those in use will get the error themselves."""
        idle: Iterable[Any] = self._available_connections
        for connection in idle:
            await connection.disconnect(nowait=True)


class _Leaving:
    """A mixin for redis-py's connection classes."""

    demoted = False

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]  # of the next class
        except ResponseError as failure:
            self.demoted = self.demoted or is_demoted(failure)
            raise


def _leaving(base: type[Any]) -> type[Connection]:
    return base if issubclass(base, _Leaving) else type(f"Leaving{base.__name__}", (_Leaving, base), {})
