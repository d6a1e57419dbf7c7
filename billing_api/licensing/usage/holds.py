"""The reservations that reports name, kept from ending while the reports are written down.

A report does without its reservation where Redis does not answer in a moment: a fact is recorded all the same. After a
silence Redis is left alone for a while, or each batch would wait for it in turn.
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
        """What became of each; "gone" for all where Redis is away."""
        if holds and self._monotonic() >= self._silent_until:
            try:
                async with asyncio.timeout(_WITHIN):
                    return await self._writer.pin(holds)
            except (RedisError, OSError, Unavailable):  # TimeoutError is an OSError
                self._silent_until = self._monotonic() + _LEFT_ALONE
        return ["gone"] * len(holds)
