"""Hold watch: tells whether the hot store may have lost a reservation that is still alive.

A panel that was granted a hold relies on it for up to keys.LONGEST_HOLD. When Redis loses its data, the hold is gone
from there. A new grant before the panel has reported or given up could hand out the last database twice. So after a
loss nothing may be reserved for that long, unless it is known that no hold was made shortly before the loss.

The server's count of HSETNX calls tells that. It belongs to the process and not to the data, so it outlives a FLUSHALL,
and `reserve` is its only caller. While the count and the server's run id stay the same, no hold is made. A worker looks
each second; a change, a restart of the server, or a look that could not be made counts as "just now".
"""

import time
from collections.abc import Callable
from math import inf
from typing import Final

from core.hotstore import keys
from core.hotstore.writer import HoldsMade, Writer

_LONGEST_HOLD: Final = float(keys.LONGEST_HOLD)


class HoldWatch:
    def __init__(self, writer: Writer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._monotonic = monotonic
        self._seen: HoldsMade | None = None
        self._last_possible = monotonic()
        """No hold was made after this instant, as far as the last look can say."""

    async def look(self) -> None:
        made = await self._writer.holds_made()
        if made != self._seen:
            self._seen = made
            self._last_possible = self._monotonic()

    async def nothing_was_ever_held(self) -> None:
        """For a caller that knows that no store was ever filled from this database."""
        self._seen = await self._writer.holds_made()
        self._last_possible = -inf

    async def may_be_lost(self) -> bool:
        """For after a loss of data. Nothing can be reserved meanwhile, because the marks are gone as well."""
        await self.look()
        return self._monotonic() - self._last_possible < _LONGEST_HOLD
