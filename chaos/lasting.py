"""Lasting faults, which begin and are lifted again: a full disk, frozen processes, read-only servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
import psutil

from chaos import disk
from chaos.plan import FROZEN, Strike, Target
from chaos.system import System

_TRY_EACH: Final = 0.2
_REFILL_EACH: Final = 0.1
_LIFTED_WITHIN: Final = 90.0
_ANSWERS_WITHIN: Final = 5.0


class NothingToStrike(Exception):
    """The part is down or just starting."""


@asynccontextmanager
async def lasting(system: System, strike: Strike) -> AsyncIterator[None]:
    """Within the block the fault is there. At its end the fault was lifted, also where a server was down meanwhile."""
    if strike.target is Target.FULL_DISK:
        async with _full(system):
            yield
    elif strike.target in FROZEN:
        async with _frozen(system, strike):
            yield
    elif strike.target is Target.DEMOTED_VALKEY:
        async with _demoted_valkey(system):
            yield
    else:
        async with _demoted_postgres(system):
            yield


@asynccontextmanager
async def _full(system: System) -> AsyncIterator[None]:
    async def keep_full() -> None:
        while True:
            await asyncio.to_thread(disk.fill, system.data)
            await asyncio.sleep(_REFILL_EACH)

    await asyncio.to_thread(disk.fill, system.data)
    filling = asyncio.create_task(keep_full())
    try:
        yield
    finally:
        filling.cancel()
        await asyncio.wait({filling})
        await asyncio.sleep(_REFILL_EACH)  # a thread whose task was cancelled goes on filling to its end
        disk.make_room(system.data)


@asynccontextmanager
async def _frozen(system: System, strike: Strike) -> AsyncIterator[None]:
    victims = await asyncio.to_thread(system.victims, strike)
    if not victims:
        raise NothingToStrike
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.suspend()
    try:
        yield
    finally:
        for victim in victims:
            with suppress(psutil.NoSuchProcess):  # killed meanwhile
                victim.resume()


@asynccontextmanager
async def _demoted_valkey(system: System) -> AsyncIterator[None]:
    """A replica without a primary: it answers from its data, and refuses every change with READONLY."""
    if not await _told(system, "REPLICAOF", "127.0.0.1", "1"):
        raise NothingToStrike
    try:
        yield
    finally:
        await _until(lambda: _told(system, "REPLICAOF", "NO", "ONE"))


async def _until(lift: Callable[[], Awaitable[bool]]) -> None:
    """Lifts a fault of a server that may be down at the moment."""
    async with asyncio.timeout(_LIFTED_WITHIN):
        while not await lift():  # noqa: ASYNC110  the server has to be asked
            await asyncio.sleep(_TRY_EACH)


async def _told(system: System, *words: str) -> bool:
    try:
        return (await asyncio.to_thread(system.valkey().call, *words)).startswith("+OK")
    except OSError:
        return False


@asynccontextmanager
async def _demoted_postgres(system: System) -> AsyncIterator[None]:
    """Like a standby behind the same name: every change is refused with 25006."""
    if not await _set(system, "ALTER SYSTEM SET default_transaction_read_only = on"):
        raise NothingToStrike
    try:
        yield
    finally:
        await _until(lambda: _set(system, "ALTER SYSTEM RESET default_transaction_read_only"))


async def _set(system: System, statement: str) -> bool:
    try:
        connection = await asyncpg.connect(system.superuser_url, timeout=_ANSWERS_WITHIN)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN):
                await connection.execute("SET default_transaction_read_only = off")
                await connection.execute(statement)
                await connection.execute("SELECT pg_reload_conf()")
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        return False
    return True
