"""Benchmark of the API's routes for customers (`python -m bench.api`): their cost, a usual stack's, and that by layer.

One process of the billing API and one of FastAPI with SQLAlchemy's ORM (bench/yardsticks/fastapi_api/) answer in
turns, from the same rows in the same PostgreSQL. Each verifies a token and looks up limits and session in Redis. They
run on one core; the load, which sleeps while it waits, and both servers run on the other. The figures are the CPU time
of each process, from /proc, over the answered requests. A route that a contender does not have yet is left out.

Then the layers of `GET licenses`: the API with probe routes, each of which stops one layer further (probed.py).
`--profile ROUTE` samples the API under load on that route instead.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from bench.api import report
from bench.api.measuring import Running, Spent, ask, hashing_micros
from bench.api.probed import PROBES, SAMPLES
from bench.api.routes import ROUTES, SIGN_IN, Route, requests
from bench.api.sampling import Samples
from bench.api.stage import OURS, YARDSTICK, Stage, stage_with
from bench.contenders import ROOT, Absent, Contender
from bench.ledger import ledger

_LICENSES_EACH: Final = 100
_SIGN_INS_AT_ONCE: Final = 1
"""Two at once would fight for the cache, and each hash would cost more than the one that it is compared with."""
_NOT_FOUND: Final = 404
_PROBE: Final = PROBES.removeprefix("/api/v1")
LAYERS: Final[Mapping[str, Route]] = {
    "server: a bare answer": Route("server", "GET", f"{_PROBE}/server", signed_in=False),
    "+ framework, log, metrics: the empty handler": Route("empty", "GET", f"{_PROBE}/empty", signed_in=False),
    "+ limits, of the address": Route("public", "GET", f"{_PROBE}/public", signed_in=False),
    "+ token, and the limit of its user": Route("public", "GET", f"{_PROBE}/public"),
    "+ liveness of its session": Route("own", "GET", f"{_PROBE}/own"),
    "+ transaction": Route("transaction", "GET", f"{_PROBE}/transaction"),
    "+ statements": Route("statement", "GET", f"{_PROBE}/statement"),
    "+ rows to JSON: GET licenses?limit=20": Route("licenses", "GET", "/licenses?limit=20"),
}
"""Each does what the one before it does, and one thing more."""


class Figures(msgspec.Struct, frozen=True):
    """One round."""

    routes: Mapping[str, Mapping[str, Spent]]
    layers: Mapping[str, Spent]
    sign_in: Spent | None
    hashing: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    chosen = [route for route in ROUTES if not options.routes or route.name in options.routes]
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed, one for the contender and one for its load")
    serving, loading = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {loading})
    folder = ROOT / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_things:
        books = open_things.enter_context(ledger(folder, options.customers * _LICENSES_EACH, options.customers))
        stage = open_things.enter_context(stage_with(books, serving, options.connections, options.seconds))
        if options.profile:
            _print(profile(stage, next(route for route in ROUTES if route.name == options.profile)))
            return 0
        taking_part = [open_things.enter_context(stage.started(one)) for one in _present(stage, options)]
        probed = open_things.enter_context(stage.started(stage.probed())) if options.layers else None
        rounds = [
            measure_round(stage, taking_part, probed, chosen, sign_in=options.sign_in) for _ in range(options.rounds)
        ]
    _print(report_of(rounds))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rounds)))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [route.name for route in ROUTES]
    parser = argparse.ArgumentParser(
        prog="python -m bench.api", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each contender is loaded on each route")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--customers", type=int, default=2000, help="each has 100 licenses and a session")
    parser.add_argument("--routes", nargs="+", choices=names, metavar="ROUTE", help=f"of {', '.join(names)}")
    parser.add_argument("--no-yardstick", dest="yardstick", action="store_false", help="measure the billing API alone")
    parser.add_argument("--no-layers", dest="layers", action="store_false", help="leave out the layers of GET licenses")
    parser.add_argument("--no-sign-in", dest="sign_in", action="store_false", help="leave out the sign-in")
    parser.add_argument("--profile", choices=names, metavar="ROUTE", help="sample the billing API on this route")
    parser.add_argument("--json", type=Path, help="where to write the figures of every round")
    return parser.parse_args(arguments)


def _present(stage: Stage, options: argparse.Namespace) -> list[Contender]:
    present = [stage.billing_api()]
    yardstick = stage.fastapi() if options.yardstick else None
    if isinstance(yardstick, Absent):
        _print(f"without {yardstick.name}: {yardstick.reason}")
    elif yardstick is not None:
        present.append(yardstick)
    return present


def measure_round(
    stage: Stage, taking_part: Sequence[Running], probed: Running | None, routes: Sequence[Route], *, sign_in: bool
) -> Figures:
    """`probed`: the API with probe routes; None leaves the layers out."""
    tokens = {OURS: stage.crowd.our_tokens(), YARDSTICK: stage.crowd.yard_tokens()}
    figures: dict[str, dict[str, Spent]] = {}
    for route in routes:
        figures[route.name] = {}
        for one in taking_part:
            calls = requests(route, stage.crowd, tokens[one.contender.name])
            if ask(one, calls[0])[0] != _NOT_FOUND:
                figures[route.name][one.contender.name] = stage.bed.measure(one, calls)
    layers = {
        name: stage.bed.measure(probed, requests(route, stage.crowd, tokens[OURS]))
        for name, route in LAYERS.items()
        if probed is not None
    }
    signed_in = None
    if sign_in:
        calls = requests(SIGN_IN, stage.crowd, tokens[OURS])
        signed_in = stage.bed.measure(taking_part[0], calls, _SIGN_INS_AT_ONCE)
    return Figures(figures, layers, signed_in, hashing_micros(stage.crowd.password))


def report_of(rounds: Sequence[Figures]) -> str:
    parts = [report.routes_table([each.routes for each in rounds], OURS)]
    if rounds[0].layers:
        parts.append(report.layers_table([each.layers for each in rounds]))
    sign_ins = [each.sign_in for each in rounds if each.sign_in is not None]
    if sign_ins:
        parts.append(report.sign_in_line(sign_ins, [each.hashing for each in rounds]))
    return "\n\n".join(parts)


def profile(stage: Stage, route: Route) -> str:
    """The billing API, sampled under load on this route."""
    file = stage.bed.folder / "samples.json"
    file.unlink(missing_ok=True)
    with stage.started(stage.probed({SAMPLES: str(file)})) as one:
        spent = stage.bed.measure(one, requests(route, stage.crowd, stage.crowd.our_tokens()))
    return report.profile_text(msgspec.json.decode(file.read_bytes(), type=Samples), spent.api)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
