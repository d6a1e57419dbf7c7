"""Connections to Redis for a process of loops that are cancelled: on stopping, and by their own time limits.

No `socket_timeout`: with one, redis-py (5.3) sends through `asyncio.wait_for`, which on Python 3.11 forgets a
cancellation that arrives in the same turn as its result (python/cpython#86296); of 600 it forgot 117. Callers bound
what they wait for with `asyncio.timeout`, and the kernel finds out that a peer has vanished.
"""

import socket
from typing import Final

from redis.asyncio import ConnectionPool

_CONNECT_WITHIN: Final = 2.0
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes without an answer."""


def redis_pool(url: str) -> ConnectionPool:
    """Answers are bytes."""
    if url.startswith("unix"):
        return ConnectionPool.from_url(url, socket_connect_timeout=_CONNECT_WITHIN)
    options = {getattr(socket, name): value for name, value in _KEEPALIVE.items() if hasattr(socket, name)}
    return ConnectionPool.from_url(
        url, socket_connect_timeout=_CONNECT_WITHIN, socket_keepalive=True, socket_keepalive_options=options
    )
