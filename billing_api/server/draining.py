"""Graceful shutdown of an API worker on SIGTERM: no request is lost.

    SIGTERM   readiness says "not ready", so that a load balancer sends nothing new
              for NP_DRAIN_SECONDS requests are still served; each answer says `Connection: close`
              new connections are refused, those that wait in the backlog are accepted (core/listeners.py)
    SIGINT    to itself: Granian stops listening, answers the requests in progress, and ends

Granian's own handler of SIGTERM would do only the last step. It closes idle connections, although a request may be on
its way on one, and resets connections that wait to be accepted. Each worker drains by itself, whether its master passes
the signal on or one worker alone receives it. The master waits for the workers (`workers_kill_timeout`).
"""

import asyncio
import os
import signal

from litestar.types import Message, Send

from core.health import Readiness
from core.listeners import GRACE_SECONDS, own_listeners, stop_accepting
from core.telemetry import logger


class Draining:
    """The shutdown of one worker."""

    def __init__(self, readiness: Readiness, *, seconds: float, port: int) -> None:
        self._readiness = readiness
        self._seconds = max(seconds, GRACE_SECONDS)
        self._port = port
        self._leaving: asyncio.Task[None] | None = None

    async def handle_sigterm(self) -> None:
        """Replaces Granian's handler of SIGTERM in the running loop."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._begin)

    def _begin(self) -> None:
        if self._leaving is None:
            self._readiness.drain()
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        logger().info("api.draining", pid=os.getpid(), seconds=self._seconds)
        try:  # it ends even if this fails: a process without free file descriptors cannot list its own sockets
            await asyncio.sleep(self._seconds)
            await self._refuse_new_connections()
        finally:
            signal.raise_signal(signal.SIGINT)

    async def _refuse_new_connections(self) -> None:
        listeners = own_listeners(self._port)
        try:
            await stop_accepting(listeners)
        finally:
            for listener in listeners:
                listener.close()


def with_connection_close(send: Send) -> Send:
    """The same `send`, with `Connection: close` in the answer: no other answer follows on this connection."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_closing
