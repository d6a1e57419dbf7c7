"""Supervision: restarts each part of the process whenever it ends, after a pause.

Postgres and Redis go away and come back, and a partner's bug must not stop the other parts. So each part is a coroutine
that runs until something fails. The pause grows while it keeps failing, and stays short, because customers wait for
these parts.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, Final, NoReturn

from redis.exceptions import ConnectionError as RedisAway
from redis.exceptions import TimeoutError as RedisSilent
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from core.errors import Unavailable
from core.parts import beat
from core.telemetry import logger

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 1.0
_RECOVERED: Final = 10.0
"""Seconds of life after which a failure counts as the first one again."""

_ENDS_WITHIN: Final = 7.0

_AWAY: Final = (OSError, TimeoutError, Unavailable, RedisAway, RedisSilent, DBAPIError, PoolExhausted)
"""Failures of another server: one line in the log. All others are bugs of ours, and logged with a trace."""


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> NoReturn:
    """Runs `run` again whenever it ends, until cancelled. A run that failed is a heartbeat too."""
    pause = _FIRST_PAUSE
    while True:
        began = time.monotonic()
        try:
            await run()
        except _AWAY as failure:
            logger().warning("part.away", part=name, error=_told(failure))
        except asyncio.CancelledError:
            if _is_asked_to_end():
                raise
            # Something else cancelled what this waited for: a failure like any other.
            logger().exception("part.failed", part=name)
        except Exception:  # noqa: BLE001  whatever it was, the part has to run again
            logger().exception("part.failed", part=name)
        beat()
        if time.monotonic() - began > _RECOVERED:
            pause = _FIRST_PAUSE
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  spreads restarts, guards nothing
        pause = min(2 * pause, _LONGEST_PAUSE)


def _is_asked_to_end() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _told(failure: BaseException) -> str:
    """The failure as text, also where its own text cannot be made: the next run depends on this."""
    with suppress(Exception):
        return f"{type(failure).__name__}: {failure}"[:300]
    return type(failure).__name__


async def end(parts: Collection[asyncio.Task[Any]]) -> None:
    """Cancels the parts and lets them finish their step; cancels again those that have not ended."""
    running = set(parts)
    for patience in (_ENDS_WITHIN, 1.0, 1.0):
        for part in running:
            part.cancel()
        if running:
            _, running = await asyncio.wait(running, timeout=patience)
    for part in running:
        logger().error("part.does_not_end", part=part.get_name())


class Wakeup:
    """Ends a loop's pause early. The loop waits a second at most, because a wake-up may be missed."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Forgets the wake-up before it returns: one that comes during the work makes the next wait short."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()
