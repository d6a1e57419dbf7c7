"""Hears the database say that there is work: LISTEN on a connection of its own.

A notification is a hint. Whoever connects anew has missed some, so every connection begins by ringing all bells; and
the loops behind the bells look each second anyway. A connection that broke silently (a firewall, a lost host), or whose
server was demoted, is found by asking it something from time to time: a server that takes no writes announces nothing.
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


async def listen(database_url: str, bells: Mapping[Lane, Callable[[], None]]) -> None:
    """Rings the bell of the lane that a notification names; returns or raises when the connection is lost."""
    connection = await asyncpg.connect(
        database_url, timeout=_ANSWER_WITHIN, server_settings={"application_name": "nextpanel-workers-listen"}
    )
    try:
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())

        def heard(_connection: Any, _pid: int, _channel: str, payload: Any) -> None:
            if bell := bells.get(payload):
                bell()

        await connection.add_listener(CHANNEL, heard)
        for bell in bells.values():
            bell()
        while not lost.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK_EACH):
                    await lost.wait()
            if await connection.fetchval(READ_ONLY, timeout=_ANSWER_WITHIN):
                raise ConnectionError("the server is read-only; dialing again")
            succeeded()
    finally:
        connection.terminate()
