"""`python -m loadtest.openloop --rate 10000 --connections 10000 --seconds 30`: how fast answers come at a rate.

Validations, or with `--reports 1` usage reports, of which `--reports 1000` puts so many into each call.

    --licenses 1000000 --spread even|zipf   how many seeded licenses are in play, and how they are drawn
    --warm 1                                each of them is asked about once before, so that caches are full

It spreads the load over driver processes, starts them at one instant, and adds up their records, with the processor
time that the server needed. It ends with 1 where a request failed or was put off, or where the p99 is above the limit.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import Final, NamedTuple

from core.clock import rfc3339, utc_now
from core.counted import counted
from loadtest import results, warming
from loadtest.arguments import count_from_zero, positive_count, positive_number
from loadtest.customer_calls import CustomersTarget
from loadtest.drawing import SPREADS
from loadtest.driver import CannotDrive, Driven, Plan
from loadtest.driving import Target, drivers, share, target_of
from loadtest.histogram import Histogram
from loadtest.recording import Recorder, curve
from loadtest.results import Check, Number, Point, Result
from loadtest.seed_files import SeedFiles
from loadtest.signed_calls import each_once
from loadtest.stack import NoStack, data_folder, read_stack
from loadtest.used import Pids, Used, resident_mb

_SERVER: Final = "server"


class Limits(NamedTuple):
    """What a run promises; a request that failed breaks every promise."""

    p99_ms: float | None = None
    put_off: int = 0
    """Answers that say when to come again (503 with Retry-After)."""


def measure(
    target: Target | CustomersTarget,
    plan: Plan,
    *,
    processes: int,
    pids: Pids,
    limits: Limits,
    series: str = "",
) -> Result:
    """`series`: what this setup is called in the plots over the number of licenses; without it, it is in none."""
    began = rfc3339(utc_now())
    with drivers(target, share(plan, processes)) as running:
        start = running.start() + plan.warm_up
        sleep(max(0.0, start - perf_counter()))
        before = Used.now(pids, running.pids)
        sleep(max(0.0, start + plan.seconds - perf_counter()))
        used = Used.now(pids, running.pids).since(before)
        memory = resident_mb(pids)
        driven = running.finish()
    # The records of all drivers are one result.
    recorder = Recorder()
    for one in driven:
        recorder.add(one.recorder)
    whole = recorder.whole()
    resident: dict[str, str | Number] = {f"{part} resident MB": mb for part, mb in memory.items()}
    over = counted(plan.connections, "connection", ",")
    return Result(
        tool="openloop",
        title=f"Open loop: {plan.rate:,.0f} {target.asked} a second over {over}",
        began=began,
        settings={**plan.settings, "processes": processes, **target.settings},
        facts=_facts(recorder, driven, plan, target) | used.facts(whole.count, plan.seconds) | resident,
        requests=whole.count,
        curve=curve(whole),
        moments=recorder.moments(),
        points=[_point(series, target, whole, used, memory)] if series and isinstance(target, Target) else [],
        outcomes=dict(recorder.outcomes),
        put_off=dict(recorder.put_off),
        faults=dict(recorder.faults),
        checks=_checks(recorder, whole, limits),
    )


def _checks(recorder: Recorder, whole: Histogram, limits: Limits) -> list[Check]:
    checks = [
        Check("requests that failed", 0, sum(recorder.faults.values())),
        Check("requests that were put off", limits.put_off, sum(recorder.put_off.values())),
    ]
    if limits.p99_ms is not None:
        checks.append(Check("p99 in ms", limits.p99_ms, whole.percentile(99) / 1000))
    return checks


def _point(series: str, target: Target, whole: Histogram, used: Used, memory: dict[str, float]) -> Point:
    return Point(
        series=series,
        licenses=len(target.license_keys),
        requests=whole.count,
        micros=used.micros(whole.count),
        resident_mb=memory,
        curve=curve(whole),
    )


def _facts(
    recorder: Recorder, driven: Sequence[Driven], plan: Plan, target: Target | CustomersTarget
) -> dict[str, str | Number]:
    lateness = Histogram()
    for one in driven:
        lateness.add(one.lateness)
    # A server that is too slow goes on answering after the last request was due.
    took = max(plan.seconds, *(one.ended for one in driven))
    answered = sum(recorder.outcomes.values()) / took
    return {
        "requests": recorder.whole().count,
        "answered per second": answered,
        **target.told(answered),
        "driver's own delay p50 ms": lateness.percentile(50) / 1000,
        "driver's own delay p99 ms": lateness.percentile(99) / 1000,
        "connections opened again": sum(one.reopened for one in driven),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    data = data_folder()
    try:
        target, pids = _chosen_target(chosen, data)
        for _ in range(chosen.warm):
            warming.ask_each(target.url, each_once(target.url, target.key, target.license_keys, target.features))
        plan = Plan(
            url=target.url,
            rate=chosen.rate,
            connections=chosen.connections,
            seconds=chosen.seconds,
            warm_up=chosen.warm_up,
            patience=chosen.patience,
        )
        limits = Limits(chosen.p99_ms, chosen.put_off)
        result = measure(
            target, plan, processes=chosen.processes, pids=pids, limits=limits, series=_series(chosen, plan)
        )
    except (CannotDrive, NoStack) as fault:
        print(f"openloop: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return results.conclude(result, chosen.out, data)


def _series(chosen: argparse.Namespace, plan: Plan) -> str:
    """Usage reports are in no plot over the number of licenses."""
    if chosen.reports:
        return ""
    words = (f"{plan.rate:,.0f}/s", chosen.spread, "warm" if chosen.warm else "as found", chosen.called)
    return ", ".join(word for word in words if word)


def _chosen_target(chosen: argparse.Namespace, data: Path) -> tuple[Target, Pids]:
    """The target from the command line; the running stack fills in what is left out."""
    license_keys = chosen.keys.read_text(encoding="utf-8").split() if chosen.keys else SeedFiles(data).read_keys()
    wanted = chosen.licenses or len(license_keys)
    if not license_keys or len(license_keys) < wanted:
        raise NoStack(
            f"there are {counted(len(license_keys), 'license key', ',')}, too few: give --keys FILE, or make some with"
            f" `python -m loadtest.seed --licenses {wanted or 10_000}`"
        )
    wishes = {
        "license_keys": license_keys[:wanted],
        "reports": chosen.reports,
        "about": chosen.about,
        "spread": None if chosen.reports else chosen.spread,
    }
    if chosen.url and chosen.api_key:
        key_id, _, secret = chosen.api_key.partition(":")
        return Target(chosen.url, (key_id, secret), ())._replace(**wishes), {_SERVER: chosen.pid}
    stack = read_stack(data)
    part, url = ("billing_api", stack.billing_api) if chosen.reports else ("validator", stack.validator)
    target = target_of(stack, SeedFiles(data))._replace(url=chosen.url or url, **wishes)
    return target, {_SERVER: chosen.pid or stack.pids.get(part, []), "valkey": stack.pids.get("valkey", [])}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.openloop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=positive_number, default=10_000, help="requests a second, in all")
    parser.add_argument("--connections", type=positive_count, default=10_000, help="held open, in all")
    parser.add_argument("--seconds", type=positive_number, default=30)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds at the same rate that are not recorded")
    parser.add_argument(
        "--patience", type=positive_number, default=10, help="seconds after which an answer is given up"
    )
    parser.add_argument("--processes", type=positive_count, default=1, help="driver processes")
    parser.add_argument("--licenses", type=positive_count, help="how many are in play; default: all there are")
    parser.add_argument("--spread", choices=SPREADS, default="even", help="how they are drawn; default: even")
    warm = "ask about each license so many times before: once for a validator of one process, default 0"
    parser.add_argument("--warm", type=count_from_zero, default=0, help=warm)
    parser.add_argument("--called", default="", help="words for this setup in the plots, such as 'near cache off'")
    parser.add_argument("--p99-ms", type=positive_number, help="the run fails where p99 is above")
    parser.add_argument("--put-off", type=count_from_zero, default=0, help="503 with Retry-After that are no failure")
    parser.add_argument("--reports", type=int, default=0, help="send so many usage reports in each call")
    parser.add_argument("--about", type=positive_count, default=20, help="licenses that each list of reports is about")
    parser.add_argument("--url", help="default: the validator in run.json, or the billing API for reports")
    parser.add_argument("--api-key", help="id:secret; default: the platform key in run.json")
    parser.add_argument("--keys", type=Path, help="license keys, one a line; default: the seeded ones")
    parser.add_argument("--pid", type=int, action="append", default=[], help="of the server; with its children")
    parser.add_argument("--out", type=Path, help="default: a file under $NP_DATA/results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
