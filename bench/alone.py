"""Benchmark of the validator alone (`python -m bench.alone`), against the limits that its design promises.

It measures the time from start to ready, memory with many connections, the cost of metrics, and whether a request costs
more when there are more licenses in play (bench.growth). The exit code is 1 where a promise is broken.

    python -m bench.alone [--licenses 1000000] [--connections 10000] [--seconds 2] [--rounds 5]
"""

import argparse
import asyncio
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from timeit import repeat
from typing import Final, NamedTuple

from typing_extensions import override

from bench import contenders, cost, growth, material, running
from bench.contenders import HOST, ROOT, Place
from core.counted import counted
from core.settings import validator_settings
from loadtest import results
from loadtest.stack import data_folder
from validator.metrics import Tally

_FEW: Final = 1000
_LOOPS: Final = 200_000
_PATIENCE: Final = 50
_REMEMBERED_MB: Final = 32
_LEAST_BYTES: Final = 512
"""So many for each license fill every cache: each is asked about twice, and has a key of its own."""


class Line(NamedTuple):
    what: str
    values: Sequence[float]
    limit: float

    @property
    def holds(self) -> bool:
        return median(self.values) <= self.limit

    @override
    def __str__(self) -> str:
        told = f"{median(self.values):.3g}  ({min(self.values):.3g}–{max(self.values):.3g})"
        return f"{self.what:52}{told:>24}   {'holds' if self.holds else 'BROKEN'}: at most {self.limit:g}"


def main() -> int:
    options = _options()
    serving, loading = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {loading})
    _allow_files(options.connections + 100)
    folder = ROOT / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with running.place(folder) as place:
        _fill(place, _FEW)
        lines = [
            Line("start to ready, s", [_start(place, folder) for _ in range(options.rounds)], 1.0),
            Line("metrics, µs a request", _metrics(), 1.0),
            _memory(place, folder, serving, options.connections),
            *_growth(place, folder, serving, options),
        ]
    print(*lines, sep="\n")  # noqa: T201  # it prints a report
    return 0 if all(line.holds for line in lines) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.alone", description=__doc__)
    parser.add_argument("--licenses", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def _fill(place: Place, number: int) -> list[str]:
    """Fills an emptied Redis with so many licenses."""
    secrets = validator_settings(place.env).secrets
    keys = material.make_keys(number, secrets)
    asyncio.run(material.fill(place.redis_url, keys, secrets, yardsticks=False))
    return keys


def _start(place: Place, folder: Path) -> float:
    """Seconds until it can answer every question: interpreter, imports, Redis and its marks."""
    one = contenders.validator(place, near_cache=True)
    began = perf_counter()
    with running.process_of(one, folder):
        running.until_ready(one)
        return perf_counter() - began


def _metrics() -> list[float]:
    """What the hot path counts for one verdict from memory (validator.calls.verdicts, validator.http.connection)."""
    tally = Tally()

    def counted() -> None:
        tally.by_place[3] += 1
        tally.at_once += 1

    def nothing() -> None:
        pass

    def micros(what: Callable[[], None]) -> list[float]:
        return [seconds / _LOOPS * 1e6 for seconds in repeat(what, number=_LOOPS, repeat=5)]

    return [max(0.0, with_it - without) for with_it, without in zip(micros(counted), micros(nothing), strict=True)]


def _memory(place: Place, folder: Path, core: int, connections: int) -> Line:
    """Resident memory of the serving process with full caches.

    It is asked about more licenses than it can cache, two features each, and then by the licenses' own keys.
    """
    place = place._replace(env={**place.env, "NP_REMEMBERED_MB": str(_REMEMBERED_MB)})
    one = contenders.validator(place, near_cache=True)
    settings = validator_settings(place.env)
    keys = _fill(place, settings.remembered_bytes // _LEAST_BYTES)
    asyncio.run(material.give_own_keys(place.redis_url, keys, settings.secrets))
    with running.started(one, folder, core) as (_, pid), ExitStack() as open_ones:
        running.until_ready(one)
        reach = (HOST, one.port)
        peers = [open_ones.enter_context(socket.create_connection(reach, timeout=30)) for _ in range(connections)]
        for number, request in enumerate(_questions(keys)):
            _ask(peers[number % connections], request)
        resident = max(process.memory_info().rss for process in cost.family(pid)) / 1e6
    return Line(f"memory with {counted(connections, 'connection', ',')}, all caches full, MB", [resident], 120.0)


def _ask(peer: socket.socket, request: bytes) -> None:
    """Asks again where Redis did not answer in time, as happens on a busy machine: only memory is measured."""
    answer = b""
    for _ in range(_PATIENCE):
        peer.sendall(request)
        answer = peer.recv(65_536)
        if b'"valid":true' in answer:
            return
        if b'"not_ready"' not in answer:
            break
        sleep(0.1)
    sys.exit(f"bench.alone: a wrong answer: {answer.decode()}")


def _questions(keys: Sequence[str]) -> Iterator[bytes]:
    for feature in ("create_database", "create_domain"):
        yield from (material.signed_request(key, feature) for key in keys)
    yield from (material.signed_request(key, key_id=material.own_key_id(place)) for place, key in enumerate(keys))


def _growth(place: Place, folder: Path, core: int, options: argparse.Namespace) -> Iterator[Line]:
    """How the cost of a request grows with the number of licenses in play; the whole table is kept for the report."""
    sweep = growth.Sweep(licenses=options.licenses, seconds=options.seconds, rounds=options.rounds)
    whole = growth.summary(list(growth.measured(place, folder, core, sweep)), sweep)
    results.conclude(whole, None, data_folder())
    for check in whole.checks:
        yield Line(check.what, [check.value], check.limit)


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == "__main__":
    sys.exit(main())
