"""Closed-loop load on the API: a number of kept-alive connections, each with one request under way, for some seconds.

Unlike `bench.load` it sleeps while it has nothing to do, because PostgreSQL and Redis share its core: a loop that asks
the kernel all the time would take from them what is measured as latency. Waking it costs the sender a few
microseconds, which is little beside a request of milliseconds. Answers are read by their Content-Length.
"""

import select
import socket
from collections.abc import Sequence
from itertools import cycle
from time import perf_counter
from typing import Final

from bench.load import HOST, Tally, WrongEnd, tally

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length: "
_GOOD: Final = b"HTTP/1.1 2"
_PATIENCE: Final = 15.0
"""Seconds without any answer: longer than the API lets a request wait."""


def run(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Tally:
    """Wrong is every answer whose status is not 2xx."""
    following = cycle(requests)
    poll = select.epoll()
    peers: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    waits: list[float] = []
    wrong = 0

    def send(peer: socket.socket) -> None:
        sent_at[peer.fileno()] = perf_counter()
        peer.sendall(next(following))

    # Connect, and send the first request on each connection.
    began = perf_counter()
    for _ in range(connections):
        peer = socket.create_connection((HOST, port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peers[peer.fileno()] = peer
        poll.register(peer.fileno(), select.EPOLLIN)
        send(peer)
    # Read each answer as it comes, and send the next request on its connection until the time is over.
    under_way = connections
    while under_way:
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise WrongEnd(f"no answer within {_PATIENCE:g} s")
        for number, _ in ready:
            wrong += not read_answer(peers[number]).startswith(_GOOD)
            now = perf_counter()
            waits.append(now - sent_at[number])
            if now - began < seconds:
                send(peers[number])
            else:
                under_way -= 1
    took = perf_counter() - began
    for peer in peers.values():
        peer.close()
    return tally(waits, wrong, took)


def read_answer(peer: socket.socket) -> bytes:
    """One answer, head and body. WrongEnd where the connection ends, or the head tells no length."""
    answer = b""
    while (end := answer.find(_HEAD_END)) < 0:
        answer += _more(peer, answer)
    head = answer[: end + 2].lower()
    place = head.find(_LENGTH)
    if place < 0:
        raise WrongEnd(f"an answer without Content-Length: {answer[:200].decode(errors='replace')}")
    place += len(_LENGTH)
    size = end + len(_HEAD_END) + int(head[place : head.index(b"\r", place)])
    while len(answer) < size:
        answer += _more(peer, answer)
    return answer


def _more(peer: socket.socket, answer: bytes) -> bytes:
    more = peer.recv(262_144)
    if not more:
        raise WrongEnd(answer[:200].decode(errors="replace") or "the connection was closed")
    return more
