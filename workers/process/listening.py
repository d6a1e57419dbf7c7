"""Listening for work: LISTEN on a connection of its own wakes the loops whose lane has a new row.

A notification is a hint. A new connection has missed some, so it begins by waking every loop; and the loops look each
second anyway. A connection may break silently (a firewall, a lost host), and a server that was demoted announces
nothing. So the server is asked from time to time whether it still takes writes.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # ships no types

from core.jobs import Lane
from core.parts import succeeded
from db.availability import READ_ONLY

CHANNEL: Final = "outbox"
_ASK_EACH: Final = 2.0
_ANSWER_WITHIN: Final = 5.0


async def listen(database_url: str, wakers: Mapping[Lane, Callable[[], None]]) -> None:
    """Wakes the lane that a notification names; returns or raises when the connection is lost."""
    connection = await asyncpg.connect(
        database_url, timeout=_ANSWER_WITHIN, server_settings={"application_name": "nextpanel-workers-listen"}
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())

        def heard(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
            if wake := wakers.get(payload):
                wake()

        await connection.add_listener(CHANNEL, heard)
        for wake in wakers.values():
            wake()
        while not lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK_EACH):
                    await lost.wait()
            if await connection.fetchval(READ_ONLY, timeout=_ANSWER_WITHIN):
                raise ConnectionError("the server is read-only; dialing again")
            succeeded()
    finally:
        connection.terminate()
