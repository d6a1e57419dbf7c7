"""Plain asyncpg, without SQLAlchemy, for the few statements that run all the time: each costs a third of the CPU.

    async with sessions.session() as driver: ...        each statement commits by itself
    async with sessions.transaction() as driver: ...    all of them together, or with an exception none

These sessions are the application's own (np_system) for as long as they live, so no transaction has to say so. They
have a pool to themselves: nothing that speaks for a customer gets one of them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

import asyncpg  # type: ignore[import-untyped]  # ships no types
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.availability import is_gone
from db.engine import CONNECT_WITHIN, server_settings

LENT_WITHIN: Final = 5
"""Seconds to wait for a session that others use, or for a new connection."""
MOST_SESSIONS: Final = 2
"""Sessions of a process: their users do one thing after another."""


class Driver(Protocol):
    """The used part of asyncpg's connection, which is untyped. Arguments stand for $1, $2 and so on."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """The rows."""

    async def execute(self, query: str, *args: Any) -> str:
        """The command's tag, such as "INSERT 0 12"."""

    def get_settings(self) -> Any:
        """What the server reports of its settings, as attributes, kept up to date while the connection is open."""


class Sessions:
    """A pool of asyncpg's own connections.

    Taking a connection out of asyncpg's pool and giving it back starts two tasks, which cost as much as a short read.
    So a connection that nobody waits for is kept outside the pool, and lent again from there.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        most: int,
        settings: Mapping[str, str],
        prepare: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """Connects when a session is needed. `url` is a plain postgresql:// URL; `name` shows in pg_stat_activity.

        `settings` are those of each session; `prepare` is called with each new connection.
        """
        self._url = url
        self._most = most
        self._settings = {**server_settings(name), **settings}
        self._prepare = prepare
        self._pool: Any = None
        self._kept: list[Any] = []
        """Connections that nobody uses and that were not given back to the pool."""
        self._waiting = 0
        self._generation = 0
        """Connections of an earlier one are given back, and the pool closes them."""

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Driver]:
        async with self._lent() as connection:
            try:
                yield connection
            except asyncio.CancelledError:
                connection.terminate()  # in the middle of a statement; a frozen server never tells its end
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Driver]:
        async with self._lent() as connection:
            try:
                await connection.execute("BEGIN")
                yield connection
                end = await connection.execute("COMMIT")
            except Exception:
                with suppress(Exception):  # the caller gets the first failure
                    await connection.execute("ROLLBACK")
                raise
            except BaseException:
                connection.terminate()  # in the middle of a statement
                raise
            if end != "COMMIT":
                raise RuntimeError(
                    "a statement of this transaction failed, and its failure was ignored: let it pass on"
                )

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Any]:
        if self._pool is None:
            self._pool = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._most,
                init=self._prepare,
                reset=_left_as_it_is,
                timeout=CONNECT_WITHIN,
                server_settings=self._settings,
            )
            await self._pool  # does nothing from the second time on
        connection = await self._acquired()
        generation = self._generation
        try:
            yield connection
        except asyncpg.PostgresError as failure:
            if is_gone(failure):
                await self.replace_all()
            raise
        except asyncpg.InternalClientError:
            connection.terminate()  # it broke off in the middle of an exchange, and may not know yet that it is closed
            raise
        finally:
            if self._waiting or generation != self._generation or _is_closed(connection):
                await self._pool.release(connection)
            else:
                self._kept.append(connection)

    async def _acquired(self) -> Any:
        while self._kept:
            connection = self._kept.pop()
            if not _is_closed(connection):
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=LENT_WITHIN)
        except TimeoutError:
            if self._pool.get_size() - self._pool.get_idle_size() >= self._most:
                raise PoolTimeout("others use all sessions") from None
            raise
        finally:
            self._waiting -= 1

    async def replace_all(self) -> None:
        """Each connection is replaced when it is needed next."""
        await self._give_back()
        await self._pool.expire_connections()

    async def close(self) -> None:
        if self._pool is not None:
            await self._give_back()
            await self._pool.close()

    async def _give_back(self) -> None:
        self._generation += 1
        kept, self._kept = self._kept, []
        for connection in kept:
            await self._pool.release(connection)


class SystemSessions(Sessions):
    def __init__(self, url: str, *, name: str = "nextpanel-billing") -> None:
        """Rows are looked up by their keys: see `by_index` of Database.as_system (db/unit_of_work.py)."""
        settings = {"role": "np_system", "enable_seqscan": "off"}
        super().__init__(url, name=name, most=MOST_SESSIONS, settings=settings)


def _is_closed(connection: Any) -> bool:
    """Also where the pool has taken it back by itself, as it does with one that was terminated."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


async def _left_as_it_is(_: object) -> None:
    """Resets nothing: no code here changes what asyncpg would reset."""
