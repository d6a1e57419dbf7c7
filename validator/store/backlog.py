"""Backlog: how many licenses are being read, and for how long one that is asked about now would wait.

After a restart nothing is remembered, and every request has to wait for Redis. If more come than can be read, a queue
without a bound makes all of them wait for seconds, and most clients have given up by the time they are answered. So a
request that would wait for too long is refused on arrival, at less than it costs to read a license; what is remembered
is answered as always.

The wait is the queue's length times what a license has cost lately: the time in which something was being read, by the
number of licenses. A command with few of them counts as the part of a full one that they are. Otherwise a lone license
would seem to cost a whole round trip, and a burst after a quiet hour would be refused.
"""

from time import monotonic
from typing import Final

MOST_WAIT: Final = 0.2
"""Seconds."""
FULL: Final = 64
"""Licenses in one command."""
_REMEMBERED: Final = 256 * FULL
"""Of so many licenses, or half as many, the cost is taken: more than are answered in one turn of a busy loop."""
_AT_FIRST: Final = 20e-6
"""Seconds a license, before anything was measured."""


class Backlog:
    __slots__ = ("_busy_since", "_licenses", "_seconds", "length")

    def __init__(self) -> None:
        self.length = 0
        """Licenses that are being read."""
        self._busy_since = 0.0
        self._seconds = _AT_FIRST * FULL
        self._licenses = FULL

    @property
    def wait(self) -> float:
        """For how many seconds a license that is asked about now would wait."""
        return self.length * self._seconds / self._licenses

    @property
    def is_long(self) -> bool:
        return self.wait > MOST_WAIT

    def asked(self) -> None:
        """One more license is being read."""
        if not self.length:
            self._busy_since = monotonic()
        self.length += 1

    def answered(self, licenses: int) -> None:
        """A command with so many licenses is."""
        now = monotonic()
        self.length -= licenses
        self._seconds += (now - self._busy_since) * licenses / FULL
        self._licenses += licenses
        self._busy_since = now
        if self._licenses > _REMEMBERED:
            self._seconds /= 2
            self._licenses //= 2
