"""RESP3 connection to Redis, shared by a whole process: multiplexing, timeouts and a circuit breaker.

Commands of one turn of the loop leave in one write. Replies come in order, so each answers the oldest waiting command.
A command is never taken out of that queue before its reply has come: one that was given up keeps its place, and its
late reply is dropped (redis-py#2624 shows what happens otherwise).

Time is counted in ticks of the loop, not in seconds. A command may be unanswered for COMMAND_TICKS turns of a timer,
and in each turn the loop has read the socket first. So after this process was stalled (a full core, a stopped machine),
replies that are already in the socket are read before they count as late. No clock is read for a command.

Silence opens the breaker: from the first unanswered command until the next reply, `call` fails at once. `probe` is
still sent: the owner keeps asking (the fence is such a question), and closes the connection if the silence lasts.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import hiredis
import structlog
from typing_extensions import override

from core.resp.waiting import Reply

log = structlog.get_logger()

TICK: Final = 0.01
COMMAND_TICKS: Final = 5
_MOST_AT_ONCE: Final = 64


class NoReply(Exception):
    """The command was not answered: too late, or the connection is gone. Whether it was executed is unknown."""


Answer = Any  # a value of RESP3, a hiredis.ReplyError for an error, or a NoReply


def pack(*words: str | bytes | int) -> bytes:
    """A command as RESP writes it."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub says tuple[X] and means tuple[X, ...]
    return packed


_MORE: Final = object()  # not False, which is a value of RESP3


class _Sent(Reply[Answer]):
    """A command's place in the queue."""

    __slots__ = ("tick",)

    tick: int


class RedisConnection(asyncio.Protocol):
    def __init__(self, on_push: Callable[[Sequence[Any]], None], on_lost: Callable[[], None]) -> None:
        self.alive = False
        self.silent = False
        self._on_push = on_push
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._out: list[bytes] = []
        self._waiting: deque[_Sent] = deque()
        self._tick = 0
        self._transport: asyncio.Transport | None = None

    def call(self, command: bytes) -> Reply[Answer]:
        """Sends a packed command, unless the breaker is open."""
        if self.silent:
            return _unanswered()
        return self.probe(command)

    def probe(self, command: bytes) -> Reply[Answer]:
        """Sends a packed command in any case."""
        if not self.alive:
            return _unanswered()
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(command)
        sent = _Sent()
        sent.tick = self._tick
        self._waiting.append(sent)
        if len(self._out) == _MOST_AT_ONCE:
            self.flush()  # a turn of a busy loop is long: let the server begin
        return sent

    def flush(self) -> None:
        """Sends now what would be sent at the end of this turn."""
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))

    def tick(self) -> int:
        """Called every TICK seconds. Gives up late commands; returns for how many ticks the oldest has waited."""
        self._tick += 1
        if not self._waiting:
            return 0
        waited = self._tick - self._waiting[0].tick
        if waited > COMMAND_TICKS:
            self.silent = True
            for sent in tuple(self._waiting):
                if self._tick - sent.tick <= COMMAND_TICKS:
                    break
                sent.resolve(NoReply())
        return waited

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.alive = True

    @override
    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        self.silent = False
        while True:
            try:
                answer = reader.gets()
            except hiredis.ProtocolError:
                self.close()
                return
            if answer is _MORE:
                return
            if type(answer) is hiredis.PushNotification:
                self._on_push(answer)
            else:
                sent = waiting.popleft()
                try:
                    sent.resolve(answer)
                except Exception:
                    # The waiting code failed on its answer. Others share the connection, which goes on.
                    log.exception("reply.stumbled")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self._out.clear()
        waiting, self._waiting = self._waiting, deque()
        self._on_lost()
        for reply in waiting:
            reply.resolve(NoReply())


def _unanswered() -> Reply[Answer]:
    reply: Reply[Answer] = Reply()
    reply.resolve(NoReply())
    return reply
