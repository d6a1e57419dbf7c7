"""Redis connection pool for loops that are cancelled, on stopping and by their own time limits.

No `socket_timeout`: with one, redis-py (5.3) sends through `asyncio.wait_for`, which on Python 3.11 forgets a
cancellation that arrives in the same turn as its result (python/cpython#86296); of 600 it forgot 117. Callers limit
their waits with `asyncio.timeout`, and keepalive probes find a peer that has vanished.

Commands are packed by hiredis, as redis-py does it itself where it is not asynchronous: a sixth of the relay's time.
"""

import socket
from collections.abc import Iterable
from typing import Any, Final

import hiredis
from redis.asyncio import Connection
from typing_extensions import override

from core.hotstore.connections import LeavingPool

_CONNECT_WITHIN: Final = 2.0
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes without an answer."""


class _Packing(Connection):
    @override
    def pack_command(self, *args: Any) -> list[bytes]:
        return [_packed(args)]

    @override
    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join(_packed(tuple(command)) for command in commands)]


def _packed(words: tuple[Any, ...]) -> bytes:
    """redis-py itself names some commands in two words that go out as two ("CONFIG GET")."""
    command, *rest = words
    packed: bytes = hiredis.pack_command((*command.split(), *rest))
    return packed


def redis_pool(url: str) -> LeavingPool:
    """Answers are bytes."""
    if url.startswith("unix"):
        return LeavingPool.of(url, socket_connect_timeout=_CONNECT_WITHIN)
    options = {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}
    return LeavingPool.of(
        url,
        connection_class=_Packing,  # but for rediss://, where redis-py takes its own
        socket_connect_timeout=_CONNECT_WITHIN,
        socket_keepalive=True,
        socket_keepalive_options=options,
    )
