"""Pinning of reservations (holds): they must not expire while the reports that name them are recorded.

If Redis does not answer in time, reports are recorded without their reservations. After a timeout Redis is not asked
for a while (circuit breaker); otherwise each batch would wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from redis.exceptions import RedisError

from core.errors import Unavailable
from core.hotstore.writer import Hold, Pinned, Writer

_WITHIN: Final = 0.1
_LEFT_ALONE: Final = 1.0


class Holds:
    def __init__(self, writer: Writer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._monotonic = monotonic
        self._silent_until = 0.0

    async def pin(self, holds: Sequence[Hold]) -> Sequence[Pinned]:
        """The result for each; "gone" for all where Redis does not answer."""
        if holds and self._monotonic() >= self._silent_until:
            try:
                async with asyncio.timeout(_WITHIN):
                    return await self._writer.pin(holds)
            except (RedisError, OSError, Unavailable):  # TimeoutError is an OSError
                self._silent_until = self._monotonic() + _LEFT_ALONE
        return ["gone"] * len(holds)
