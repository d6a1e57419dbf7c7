"""Link to the server of the access store: one connection, shared by all requests of a process.

It is dialed at its first use, and again after it was lost. Commands of one turn of the loop leave in one write
(core/resp/connection.py). docs/decisions/0047 says what this and one call in place of two save together.

A server that was demoted answers writes with READONLY. The name may lead to the new primary by then, so the connection
is left, and the next command dials. A command that is given up is not sent again: its sender goes on without.
"""

import asyncio
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from hiredis import ReplyError

from core.hotstore.connections import DEMOTED
from core.resp.connection import Answer, NoReply, RedisConnection, pack
from core.resp.dialing import HandshakeRefused, accepted, dial, greeting
from core.resp.waiting import Reply

_TICK: Final = 0.1
"""Seconds. With COMMAND_TICKS of them a command has half a second for its answer."""
_HOPELESS_TICKS: Final = 20
_CONNECT_SECONDS: Final = 0.5
_LEAVE_AFTER: Final = 1.0
"""Seconds after which a connection that was left has answered its commands."""


class LinkDown(OSError):
    """The command was not answered: nobody is there, or too late. Whether it was executed is unknown."""


class AccessLink:
    def __init__(self, url: str, *, name: str) -> None:
        """`name`: what the server shows in CLIENT LIST."""
        self._url = urlsplit(url)
        self._name = name
        self._connection: RedisConnection | None = None
        self._dialing: asyncio.Task[RedisConnection] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, *words: str | bytes | int) -> Any:
        """The answer; LinkDown where there is none, ReplyError where the server refuses."""
        connection = self._connection
        if connection is None or not connection.alive:
            connection = await self._dialed()
        answer = await _answered(connection.probe(pack(*words)))
        if isinstance(answer, NoReply):
            raise LinkDown("it does not answer")
        if isinstance(answer, ReplyError):
            if str(answer).startswith(DEMOTED):
                self._leave(connection)
            raise answer
        return answer

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._dialing is not None:
            self._dialing.cancel()
        if self._connection is not None:
            self._connection.close()

    async def _dialed(self) -> RedisConnection:
        """All who need it at once wait for one attempt."""
        if self._closed:
            raise LinkDown("closed")
        if self._dialing is None:
            self._dialing = asyncio.get_running_loop().create_task(self._dial())
        try:
            return await asyncio.shield(self._dialing)
        except (OSError, HandshakeRefused) as failure:  # TimeoutError is an OSError
            raise LinkDown(f"it cannot be reached: {str(failure) or type(failure).__name__}") from failure

    async def _dial(self) -> RedisConnection:
        opened: RedisConnection | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                address = (self._url.hostname or "localhost", self._url.port or 6379)
                opened = await dial(self._url, address, lambda _push: None, self._lost)
                for command in greeting(self._url, self._name):
                    accepted(await _answered(opened.probe(command)))
        except BaseException:
            if opened is not None:
                opened.close()
            raise
        finally:
            self._dialing = None
        self._connection = opened
        self._tick()
        return opened

    def _tick(self) -> None:
        """Gives late commands up, and a connection that has been silent for long."""
        connection = self._connection
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._closed or connection is None or not connection.alive:
            return
        if connection.tick() > _HOPELESS_TICKS:
            connection.close()
            return
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _leave(self, connection: RedisConnection) -> None:
        if connection is self._connection:
            self._connection = None
            asyncio.get_running_loop().call_later(_LEAVE_AFTER, connection.close)

    def _lost(self, connection: RedisConnection) -> None:
        if connection is self._connection:
            self._connection = None


async def _answered(reply: Reply[Answer]) -> Answer:
    """The answer, for a task of asyncio; if the task is cancelled, its answer is dropped when it comes."""
    if not reply.done:
        future = asyncio.get_running_loop().create_future()
        reply.when_done(partial(_settle, future, reply))
        return await future
    return reply.value


def _settle(future: "asyncio.Future[Answer]", reply: Reply[Answer]) -> None:
    if not future.done():
        future.set_result(reply.value)
