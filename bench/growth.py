"""Cost over the number of licenses in play (`python -m bench.growth`): more licenses must not make a verdict dearer.

For 1,000, 10,000 … licenses it starts a validator with its cache on, and one with its cache off. Each license is in
play: requests are drawn from all of them.

    cold     the first 100,000 requests after the start
    warm     after each license was asked about once
    off      no cache: every request reads Redis

The load is a closed loop over 64 connections, as in `python -m bench`; with `--rate 10000 --connections 10000` an open
loop at that rate, second by second (loadtest.openloop). Results lie beside those of the load tests, so `make
load-report` draws them.

    python -m bench.growth [--licenses 1000000] [--spread even|zipf] [--seconds 2] [--rounds 3] [--rate 10000]
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec

from bench import contenders, cost, load, material, running
from bench.contenders import HOST, ROOT, Contender, Place
from core.clock import rfc3339, utc_now
from core.counted import counted
from core.settings import validator_settings
from loadtest import openloop, processor, results, warming
from loadtest.arguments import positive_count, positive_number
from loadtest.drawing import SPREADS, Spread, draw
from loadtest.driver import Plan
from loadtest.driving import Target
from loadtest.results import Check, Point, Result
from loadtest.stack import data_folder

_SMALLEST: Final = 1_000
_FEW: Final = 10_000
_DRAWN: Final = 100_000
_AT_ONCE: Final = 64
_WARM_UP: Final = 0.5
_FEATURE: Final = "create_database"
WARM: Final = "cache on, warm"
COLD: Final = "cache on, cold"
OFF: Final = "cache off"
LIMITS: Final = {WARM: 1.5, OFF: 1.15}
"""How many times the CPU over 10,000 licenses a request may need over all of them."""


class Sweep(NamedTuple):
    """What is measured over which numbers of licenses. `rate`: None for the closed loop."""

    licenses: int = 1_000_000
    spread: Spread = "even"
    seconds: float = 2.0
    rounds: int = 3
    rate: float | None = None
    connections: int = _AT_ONCE

    @property
    def sizes(self) -> list[int]:
        """Ten times as many each, up to all."""
        sizes = [_SMALLEST]
        while sizes[-1] * 10 < self.licenses:
            sizes.append(sizes[-1] * 10)
        return [size for size in sizes if size < self.licenses] + [self.licenses]

    def series(self, setup: str) -> str:
        load_ = f"{self.connections} at once" if self.rate is None else f"{self.rate:,.0f}/s"
        return f"bench, {load_}, {self.spread}, {setup}"


class Server(NamedTuple):
    """One validator, freshly started. `keys`: the licenses in play."""

    contender: Contender
    pid: int
    place: Place
    folder: Path
    keys: Sequence[str]

    @property
    def pids(self) -> dict[str, list[int]]:
        return {"server": [self.pid], "valkey": [self.place.redis]}


def measured(place: Place, folder: Path, core: int, sweep: Sweep) -> Iterator[Result]:
    """One result for each setup and number of licenses, each with its point; the fewest licenses first."""
    secrets = validator_settings(place.env).secrets
    keys = material.make_keys(sweep.licenses, secrets)
    asyncio.run(material.fill(place.redis_url, (), secrets, yardsticks=False))
    filled = 0
    for size in sweep.sizes:
        asyncio.run(material.add(place.redis_url, keys[filled:size], secrets))
        filled = size
        yield from _of_size(place, folder, core, keys[:size], sweep)


def _of_size(place: Place, folder: Path, core: int, keys: Sequence[str], sweep: Sweep) -> Iterator[Result]:
    for near_cache in (True, False):
        one = contenders.validator(place, near_cache=near_cache)
        with running.started(one, folder, core) as (_, pid):
            running.until_ready(one)
            server = Server(one, pid, place, folder, keys)
            if not near_cache:
                yield _measure(server, sweep, OFF)
                continue
            yield _measure(server, sweep, COLD)
            warming.ask_each(f"http://{HOST}:{one.port}", (material.signed_request(key, _FEATURE) for key in keys))
            yield _measure(server, sweep, WARM)


def _measure(server: Server, sweep: Sweep, setup: str) -> Result:
    if sweep.rate is None:
        return _closed_loop(server, sweep, setup)
    plan = Plan(
        url=f"http://{HOST}:{server.contender.port}",
        rate=sweep.rate,
        connections=sweep.connections,
        seconds=sweep.seconds,
        warm_up=0.0 if setup == COLD else 2.0,
    )
    key = (material.KEY_ID, material.SECRET)
    target = Target(plan.url, key, server.keys, features=(_FEATURE,), spread=sweep.spread)
    limits, series = openloop.Limits(), sweep.series(setup)
    result = openloop.measure(target, plan, processes=1, pids=server.pids, limits=limits, series=series)
    return _named(result, setup, len(server.keys))


def _closed_loop(server: Server, sweep: Sweep, setup: str) -> Result:
    """Cold: the first requests once, each drawn from all. Otherwise rounds; the median of each figure counts."""
    began = rfc3339(utc_now())
    rounds = [_round(server, sweep, setup) for _ in range(1 if setup == COLD else sweep.rounds)]
    tallies = [tally for tally, _ in rounds]
    point = Point(
        series=sweep.series(setup),
        licenses=len(server.keys),
        requests=sum(tally.answered for tally in tallies),
        micros={part: median(micros[part] for _, micros in rounds) for part in server.pids},
        resident_mb={part: processor.resident_mb(pids) for part, pids in server.pids.items()},
        curve=[
            (50.0, median(tally.p50_ms for tally in tallies)),
            (99.0, median(tally.p99_ms for tally in tallies)),
            (99.9, median(tally.p999_ms for tally in tallies)),
        ],
    )
    result = Result(
        tool="growth",
        title=f"Closed loop over {counted(sweep.connections, 'connection', ',')}",
        began=began,
        settings={"licenses": len(server.keys), "spread": sweep.spread, "rounds": len(rounds)},
        facts={f"{part} CPU µs per request": micros for part, micros in point.micros.items()},
        requests=point.requests,
        curve=point.curve,
        points=[point],
        checks=[Check("answers that were not VALID", 0, sum(tally.wrong for tally in tallies))],
    )
    return _named(result, setup, len(server.keys))


def _round(server: Server, sweep: Sweep, setup: str) -> tuple[load.Tally, dict[str, float]]:
    """What was answered, and the CPU µs of each part for one request."""
    drawn = draw(len(server.keys), sweep.spread, _DRAWN, random.Random())  # noqa: S311  # draws questions
    requests = server.folder / "requests"
    load.write_requests(requests, [material.signed_request(server.keys[place], _FEATURE) for place in drawn])
    if setup != COLD:
        running.load_on(server.contender, requests, sweep.connections, _WARM_UP)
    before = _used(server)
    tally = running.load_on(server.contender, requests, sweep.connections, None if setup == COLD else sweep.seconds)
    after = _used(server)
    return tally, {part: (after[part] - before[part]) / tally.answered * 1e6 for part in before}


def _used(server: Server) -> dict[str, float]:
    return {part: cost.fine_cpu_seconds(pid) for part, (pid,) in server.pids.items()}


def _named(result: Result, setup: str, licenses: int) -> Result:
    return msgspec.structs.replace(result, title=f"{result.title}: {counted(licenses, 'license', ',')}, {setup}")


def summary(measured_: Sequence[Result], sweep: Sweep) -> Result:
    """All points as one result, with the promise that holds over them."""
    points = [point for one in measured_ for point in one.points]
    limits = [
        Check(
            f"CPU over {counted(sweep.licenses, 'license', ',')} to that over {_FEW:,}, {setup}", LIMITS[setup], ratio
        )
        for setup, ratio in ratios(points, sweep).items()
    ]
    return Result(
        tool="growth",
        title=f"Cost over the number of licenses: {sweep.series('cache on and off')}",
        began=measured_[0].began,
        settings={"licenses": sweep.licenses, "spread": sweep.spread, "connections": sweep.connections},
        facts={},
        requests=sum(one.requests for one in measured_),
        curve=[],
        points=points,
        checks=[*limits, *(check for one in measured_ for check in one.checks if not check.holds)],
    )


def ratios(points: Sequence[Point], sweep: Sweep) -> dict[str, float]:
    """By setup, how many times the server's CPU over 10,000 licenses a request needs over all of them."""
    found: dict[str, float] = {}
    for setup in LIMITS:
        micros = {point.licenses: point.micros["server"] for point in points if point.series == sweep.series(setup)}
        if sweep.licenses > _FEW and micros.get(_FEW):
            found[setup] = micros[sweep.licenses] / micros[_FEW]
    return found


def main() -> int:
    sweep = _sweep()
    serving, loading = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {loading})
    folder = ROOT / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with running.place(folder) as place:
        found = list(measured(place, folder, serving, sweep))
    if sweep.rate is not None:  # each has its own seconds to show
        for one in found:
            results.write(one, results.place_of(one, data_folder()))
    return results.conclude(summary(found, sweep), None, data_folder())


def _sweep() -> Sweep:
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--licenses", type=positive_count, default=1_000_000, help="the most; default: 1,000,000")
    parser.add_argument("--spread", choices=SPREADS, default="even")
    parser.add_argument("--seconds", type=positive_number, default=2.0, help="of each round, or of each open loop")
    parser.add_argument("--rounds", type=positive_count, default=3)
    parser.add_argument("--rate", type=positive_number, help="requests a second, at constant intervals")
    parser.add_argument("--connections", type=positive_count, default=_AT_ONCE)
    return Sweep(**vars(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
