"""Graceful close of listening sockets: a process stops listening without resetting a connection.

Closing a listening socket resets every connection that waits in its queue. Such a client believes itself connected, has
perhaps sent its request, and gets a reset. So the socket is first closed to new connections, then emptied, then closed:

    turn_away      the kernel drops each SYN from now on; handshakes that have begun are finished
    nobody_waits   returns once every waiting connection has been accepted
    close

A client whose SYN was dropped sends it again after a second, meets a closed port, and is refused: then it knows that
nothing of its request was read. The window is a tenth of a second. The filter is one of the kernel's socket filters
(SO_ATTACH_FILTER, socket(7)). On other systems than Linux no SYN is dropped, and a few connections may be reset.
"""

import asyncio
import ctypes
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

GRACE_SECONDS: Final = 0.25
"""A process serves on for at least so long: a client that calls repeatedly learns that its connection ends."""
HANDSHAKE_SECONDS: Final = 0.1
"""For handshakes under way: a round trip to a proxy or a client nearby."""
_EMPTY_WITHIN: Final = 2.0
_LOOK_SECONDS: Final = 0.01

_SO_ATTACH_FILTER: Final = 26
_WAITING: Final = struct.Struct("8B5I")
"""struct tcp_info up to tcpi_unacked, which holds a listening socket's number of waiting connections (tcp(7))."""

# BPF instructions; the packet begins with its TCP header, whose byte 13 holds the flags.
_DROP_SYN: Final = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # ldb [13]
        (0x45, 0, 1, 0x02),  # jset #SYN, next, after next
        (0x06, 0, 0, 0),  # ret #0: drop
        (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: all of it
    )
)


async def stop_accepting(listeners: Sequence[socket.socket]) -> None:
    """Returns when the sockets can be closed; their owner keeps accepting meanwhile."""
    for listener in listeners:
        turn_away(listener)
    await asyncio.sleep(HANDSHAKE_SECONDS)
    await nobody_waits(listeners)


def turn_away(listener: socket.socket) -> None:
    """No new connection can begin, through any descriptor of this socket."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    length = len(_DROP_SYN) // 8
    with suppress(OSError):  # a sandbox without socket filters: a few connections may be reset
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", length, ctypes.addressof(program)))


async def nobody_waits(listeners: Sequence[socket.socket]) -> None:
    """Returns when every connection has been accepted, or after two seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + _EMPTY_WITHIN
    while any(map(waiting, listeners)) and loop.time() < until:  # noqa: ASYNC110  the kernel has no event for it
        await asyncio.sleep(_LOOK_SECONDS)


def waiting(listener: socket.socket) -> int:
    """How many connections wait to be accepted."""
    if sys.platform != "linux":
        return 0
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(_WAITING.unpack_from(told)[-1])


def own_listeners(port: int) -> list[socket.socket]:
    """The listening sockets of this process at a port, for a server that does not hand them out; to be closed."""
    return list(_listening(_sockets(), port))


def _listening(sockets: Iterable[socket.socket], port: int) -> Iterable[socket.socket]:
    for found in sockets:
        with suppress(OSError):
            is_tcp = found.family in {socket.AF_INET, socket.AF_INET6} and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and found.getsockname()[1] == port:
                yield found
                continue
        found.close()


def _sockets() -> Iterable[socket.socket]:
    """Each socket of this process once, through a new descriptor."""
    descriptors = Path("/proc/self/fd")
    seen: set[int] = set()
    for entry in list(descriptors.iterdir()) if descriptors.is_dir() else ():
        with suppress(OSError):
            descriptor = int(entry.name)
            found = os.fstat(descriptor)
            if stat.S_ISSOCK(found.st_mode) and found.st_ino not in seen:
                seen.add(found.st_ino)
                yield socket.socket(fileno=os.dup(descriptor))
