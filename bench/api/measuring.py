"""One measurement: a contender under load on one route, and the CPU time that each process spent for it."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Final, NamedTuple

import msgspec
from argon2 import PasswordHasher

from bench import cost
from bench.api import load
from bench.contenders import HOST, Contender
from bench.ledger import Ledger

_WARM_UP: Final = 0.5


class Spent(msgspec.Struct, frozen=True):
    """CPU µs for one request by process, and what its clients saw."""

    api: float
    postgres: float
    redis: float
    per_second: float
    p50_ms: float
    p99_ms: float


class Running(NamedTuple):
    contender: Contender
    pid: int


class Bed(NamedTuple):
    books: Ledger
    folder: Path
    connections: int
    seconds: float

    def measure(self, one: Running, requests: Sequence[bytes], connections: int | None = None) -> Spent:
        port, at_once = one.contender.port, connections or self.connections
        load.run(port, requests, at_once, min(_WARM_UP, self.seconds))
        before = self._cpu(one)
        tally = load.run(port, requests, at_once, self.seconds)
        spent = [after - start for after, start in zip(self._cpu(one), before, strict=True)]
        if tally.wrong:
            sys.exit(f"bench: {one.contender.name} refused {tally.wrong} of {tally.answered}: {_told(one, requests)}")
        api, postgres, redis = (seconds / tally.answered * 1e6 for seconds in spent)
        return Spent(api, postgres, redis, tally.answered / tally.seconds, tally.p50_ms, tally.p99_ms)

    def _cpu(self, one: Running) -> tuple[float, ...]:
        return tuple(cost.fine_cpu_seconds(pid) for pid in (one.pid, self.books.postgres, self.books.redis))


def ask(one: Running, request: bytes) -> tuple[int, bytes]:
    """Status and body of one answer."""
    with socket.create_connection((HOST, one.contender.port), timeout=10) as peer:
        peer.sendall(request)
        head, _, body = load.read_answer(peer).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def _told(one: Running, requests: Sequence[bytes]) -> str:
    status, body = ask(one, requests[0])
    return f"{status} {body[:300].decode(errors='replace')}"


def hashing_micros(password: str) -> float:
    """CPU µs of verifying a password, with the costs of billing_api/identity/credentials/password_hashing.py."""
    hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
    stored = hasher.hash(password)
    taken = []
    for _ in range(5):
        began = thread_time()
        hasher.verify(stored, password)
        taken.append(thread_time() - began)
    return median(taken) * 1e6
