"""How a worker of the API leaves when it is asked to (SIGTERM), and nobody's request is lost.

    SIGTERM   not ready from now on, so that a load balancer sends nothing new
              NP_DRAIN_SECONDS: everything is served on, and each answer says `Connection: close`
              newcomers are turned away, and all that are connected are accepted (core/listeners.py)
    SIGINT    to itself: Granian stops listening, answers what is under way, and ends

Granian's own handler of SIGTERM would do the last step alone: it closes kept connections on which a request may be on
its way, and resets those that wait to be accepted. Each worker does this for itself, whether its master passes the
signal on or somebody sends it to one worker. The master waits for it (`workers_kill_timeout`).
"""

import asyncio
import os
import signal

from litestar.types import Message, Send

from core.health import Readiness
from core.listeners import GRACE_SECONDS, own_listeners, stop_accepting
from core.telemetry import logger


class Draining:
    """One for each worker."""

    def __init__(self, readiness: Readiness, *, seconds: float, port: int) -> None:
        self._readiness = readiness
        self._seconds = max(seconds, GRACE_SECONDS)
        self._port = port
        self._leaving: asyncio.Task[None] | None = None

    async def heed(self) -> None:
        """Takes SIGTERM over from Granian, for the loop that runs now."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._begin)

    def _begin(self) -> None:
        if self._leaving is None:
            self._readiness.drain()
            self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        logger().info("api.draining", pid=os.getpid(), seconds=self._seconds)
        try:  # whatever fails, it leaves: without files to spare its own sockets cannot even be listed
            await asyncio.sleep(self._seconds)
            await self._turn_newcomers_away()
        finally:
            signal.raise_signal(signal.SIGINT)

    async def _turn_newcomers_away(self) -> None:
        listeners = own_listeners(self._port)
        try:
            await stop_accepting(listeners)
        finally:
            for listener in listeners:
                listener.close()


def closing(send: Send) -> Send:
    """The same `send`, whose answer tells that no other follows on its connection."""

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_closing
