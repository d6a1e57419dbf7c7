"""Closed-loop load: a number of kept-alive connections, each with one request under way, for some seconds.

It must be cheaper than what it measures; otherwise the contender would wait for it. So it has one thread, one epoll,
raw sockets, and requests that were signed beforehand. It is a process of its own, on the other core.

It never sleeps. Waking a sleeper on another core is work that the kernel does at the expense of the sender, and
on a virtual machine that costs more than the sending itself; in production the other end is another machine. While it
has nothing to do it yields its core, on which Redis lives as well.

    python -m bench.load PORT REQUESTS CONNECTIONS SECONDS YES NO END     prints a Tally as JSON

It goes around the requests for so many seconds; with `once` for SECONDS it sends each of them once. YES is in every
right answer, NO in none, and END ends every answer.
"""

import os
import select
import socket
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import msgspec

HOST: Final = "127.0.0.1"
_SEPARATOR: Final = b"\0"


class Expected(NamedTuple):
    """How a right answer is recognized without parsing JSON."""

    yes: bytes
    no: bytes
    end: bytes


VALID: Final = Expected(b'"valid":true', b'"valid":false', b"}")
RECORDED: Final = Expected(b'"success":true', b'"success":false', b"}")
ALL_RECORDED: Final = RECORDED._replace(end=b"}]}")
"""A list's answer comes in pieces, each of which may end with an item's brace."""


class Tally(msgspec.Struct, frozen=True):
    answered: int
    wrong: int
    """Answers that are not YES."""
    seconds: float
    p50_ms: float
    p99_ms: float
    p999_ms: float = 0.0


class WrongEnd(Exception):
    """The server closed a connection, or sent something that is no answer, or nothing."""


def write_requests(file: Path, requests: list[bytes]) -> None:
    file.write_bytes(_SEPARATOR.join(requests))


def run(port: int, requests: list[bytes], connections: int, seconds: float | None, expected: Expected) -> Tally:
    """`seconds`: None sends each request once."""
    following = iter(requests) if seconds is None else cycle(requests)
    until = float("inf") if seconds is None else perf_counter() + seconds
    poll = select.epoll()
    peers: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    began = now = perf_counter()
    # Connect, and send the first request on each connection.
    for _ in range(connections):
        peer = socket.create_connection((HOST, port))
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peers[peer.fileno()] = peer
        poll.register(peer.fileno(), select.EPOLLIN)
        _send_next(peer, following, sent_at)
    # Read each answer as it comes, and send the next request on its connection.
    waits: list[float] = []
    wrong = 0
    while sent_at and (now := perf_counter()) < until:
        ready = poll.poll(0)
        if not ready:
            os.sched_yield()
        for number, _ in ready:
            answer = _answer(peers[number], expected.end)
            waits.append(perf_counter() - sent_at.pop(number))
            wrong += expected.yes not in answer or expected.no in answer
            _send_next(peers[number], following, sent_at)
    for peer in peers.values():
        peer.close()
    if not waits:
        raise WrongEnd(f"no answer within {now - began:.3g} s")
    return tally(waits, wrong, now - began)


def _send_next(peer: socket.socket, following: Iterator[bytes], sent_at: dict[int, float]) -> None:
    """Nothing where none is left."""
    request = next(following, None)
    if request is not None:
        sent_at[peer.fileno()] = perf_counter()
        peer.sendall(request)


def tally(waits: list[float], wrong: int, seconds: float) -> Tally:
    """`waits`: seconds that each answer took."""
    waits.sort()
    return Tally(
        answered=len(waits),
        wrong=wrong,
        seconds=seconds,
        p50_ms=waits[len(waits) // 2] * 1000,
        p99_ms=waits[len(waits) * 99 // 100] * 1000,
        p999_ms=waits[len(waits) * 999 // 1000] * 1000,
    )


def _answer(peer: socket.socket, end: bytes) -> bytes:
    """One answer: it ends with the closing brace of its body, and a small one comes in one piece."""
    answer = peer.recv(262_144)
    while not answer.endswith(end):
        more = peer.recv(262_144)
        if not more:
            raise WrongEnd(answer[:200].decode(errors="replace") or "the connection was closed")
        answer += more
    return answer


def main() -> None:
    port, file, connections, seconds, *told = sys.argv[1:]
    expected = Expected(*(part.encode() for part in told))
    requests = Path(file).read_bytes().split(_SEPARATOR)
    done = run(int(port), requests, int(connections), None if seconds == "once" else float(seconds), expected)
    sys.stdout.buffer.write(msgspec.json.encode(done))


if __name__ == "__main__":
    main()
