"""Server: the connections of one process, a check of each once a second, and the graceful shutdown.

They are checked in turns: ten thousand at once would delay a request.
"""

import asyncio
import socket
from itertools import chain
from typing import Final

from core.listeners import GRACE_SECONDS, HANDSHAKE_SECONDS, nobody_waits
from validator.http.connection import Application, Connection
from validator.http.heads import Heads
from validator.http.limits import MOST_CONNECTIONS
from validator.metrics import Tally

BACKLOG: Final = 4096
_TURNS: Final = 53  # a prime, because hashes are addresses, which lie at regular distances

_DRAIN_FRESH: Final = 5.0
_DRAIN_MOST: Final = 10.0
_DRAIN_LOOK: Final = 0.05


class Server:
    def __init__(self, app: Application, tally: Tally) -> None:
        self.app = app
        self.tally = tally
        self.heads = Heads()
        self.draining = False
        self._connections: tuple[set[Connection], ...] = tuple(set() for _ in range(_TURNS))
        """By the turn in which they are checked."""
        self._listener: asyncio.Server | None = None
        self._at: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()

    async def listen(self, at: socket.socket) -> None:
        self._at = [at]
        self._listener = await self._loop.create_server(lambda: Connection(self), sock=at, backlog=BACKLOG)
        self._look(0)

    def welcome(self, connection: Connection) -> bool:
        """False where there are too many clients; `farewell` must follow in any case."""
        room = self.connections < MOST_CONNECTIONS
        self._connections[hash(connection) % _TURNS].add(connection)
        return room

    def farewell(self, connection: Connection) -> None:
        self._connections[hash(connection) % _TURNS].discard(connection)

    @property
    def connections(self) -> int:
        return sum(map(len, self._connections))

    async def drain(self, seconds: float = 0.0) -> None:
        """Serves for `seconds`, then takes no new client, and ends when the last one has been answered.

        From the beginning each answer is the last one of its connection. Clients in the kernel's queue are accepted
        first: the supervisor lets no more come in (validator/supervisor.py), or gives the socket to a successor. An
        idle client gets a moment, for a request may be on its way; one that has just connected gets a longer one.
        """
        self.draining = True
        await asyncio.sleep(max(seconds, GRACE_SECONDS) + HANDSHAKE_SECONDS)
        if self._listener is not None:
            await nobody_waits(self._at)
            self._listener.close()
            self._listener = None
        loop = self._loop
        began = loop.time()
        while self.connections and loop.time() - began < _DRAIN_MOST:
            for connection in chain.from_iterable(map(tuple, self._connections)):
                connection.end_if_idle(fresh_too=loop.time() - began > _DRAIN_FRESH)
            await asyncio.sleep(_DRAIN_LOOK)

    def _look(self, turn: int) -> None:
        self._loop.call_later(1 / _TURNS, self._look, (turn + 1) % _TURNS)
        for connection in tuple(self._connections[turn]):
            connection.look()
