"""Fence: a periodic probe that proves up to when every change in Redis is known here.

A push tells what changed. Silence proves nothing, for the connection may be cut or the pushes late. Hence the fence: a
read that is sent every EACH seconds, each after the answer to the one before. The server answers in order, so the
answer to read n proves that all pushes for writes before read n-1 have arrived. (Before n-1, not n: pushes of the
server's current turn leave after its replies.) It also proves that the server still serves its data: a node that was
cut off from its Cluster answers PING, but answers a read with CLUSTERDOWN.

When the loop is so busy that the fence is late, requests wait for it (`catch_up`). If each of them read its license
again instead, a busy process would have several times as much to do, and would stay busy.
"""

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Final

from core.hotstore import keys
from core.resp.connection import (
    Answer,
    RedisConnection,
    pack,
)
from core.resp.waiting import Reply
from validator.metrics import Histogram

MAX_AGE: Final = 0.2
"""Seconds for which cached data may be used after the instant up to which it is proven."""
EACH: Final = 0.075  # by the clock: a count of turns would be even later when the loop is late

_TENDED_SECONDS: Final = 30.0

SYNC_READ: Final = pack("HMGET", keys.SYNC, "epoch", "synced_through")


class Fence:
    """The fence of one server. Cached data may be used while `proven` is at most MAX_AGE ago."""

    def __init__(self) -> None:
        self.proven = float("-inf")
        """Monotonic instant up to which every change is known."""
        self.fresh_until = float("-inf")
        """`proven` plus MAX_AGE."""
        self.synced_through: float | None = None
        self.synced_here: float | None = None
        """The same, from the server that is connected now; None until it has told."""
        self.round_trips = Histogram()
        """How long questions to this server take."""
        self.reads: Sequence[bytes] = (SYNC_READ,)
        """Reads that are sent in turn; the server must answer each with a list."""
        self._turn = 0
        self._connection: RedisConnection | None = None
        self._under_way = False
        self._asked_at = 0.0
        self._asked_before = 0.0  # when the last read that was answered was sent
        self._waiting: Reply[bool] | None = None
        self._late_since = 0.0

    def begin(self, connection: RedisConnection) -> None:
        """The server has just promised to push changes on this connection."""
        self._connection = connection
        self._under_way = False
        self.synced_here = None
        self._asked_before = monotonic()
        self._send()

    def end(self) -> None:
        """The connection is lost."""
        self._connection = None
        self._stop_waiting(passed=False)

    def tick(self) -> None:
        if self._connection is not None and monotonic() - self._asked_at >= EACH:
            self._send()

    @property
    def tended(self) -> bool:
        """Whether there is no server to ask, or one was asked lately; an unanswered read ends with its connection."""
        return self._connection is None or monotonic() - self._asked_at < _TENDED_SECONDS

    async def catch_up(self) -> None:
        """Returns once cached data may be used, or it is clear that it may not: look at `fresh_until` then.

        Thousands may wait. The last of them runs after the work of all others, and may have to wait once more. A server
        whose breaker is open is not waited for.
        """
        while monotonic() > self.fresh_until and self._is_answered() and await self._passing():
            pass

    @property
    def is_late(self) -> bool:
        """Whether `catch_up` would wait."""
        return monotonic() > self.fresh_until and self._is_answered()

    def _is_answered(self) -> bool:
        return self._connection is not None and not self._connection.silent

    def _passing(self) -> Reply[bool]:
        """Resolves to true when the fence passes again, to false when it is clear that it will not."""
        if self._waiting is not None:
            return self._waiting
        passing = self._waiting = Reply()
        self._late_since = monotonic()
        self._send()  # which may find at once that there is no connection
        return passing

    def _send(self) -> None:
        connection = self._connection
        if connection is None:
            self._stop_waiting(passed=False)
        elif not self._under_way:  # two reads in one turn of the server would prove nothing
            self._under_way = True
            self._asked_at = monotonic()
            self._turn = (self._turn + 1) % len(self.reads)
            answer = connection.probe(self.reads[self._turn])
            connection.flush()
            answer.when_done(partial(self._answered, connection, self._asked_at, answer))

    def _answered(self, connection: RedisConnection, asked_at: float, answer: Reply[Answer]) -> None:
        if connection is not self._connection:
            return
        self._under_way = False
        if not isinstance(answer.value, list):
            self._stop_waiting(passed=False)
            return
        self.proven, self._asked_before = self._asked_before, asked_at
        self.fresh_until = self.proven + MAX_AGE
        self.round_trips.add(monotonic() - asked_at)
        if len(answer.value) == 2:  # it was SYNC_READ
            synced_through = answer.value[1]
            self.synced_through = self.synced_here = int(synced_through) / 1000 if synced_through else None
        if self.proven > self._late_since - MAX_AGE / 2:
            self._stop_waiting(passed=True)
        else:
            self._send()

    def _stop_waiting(self, *, passed: bool) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.resolve(passed)
