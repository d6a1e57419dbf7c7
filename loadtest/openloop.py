"""`python -m loadtest.openloop --rate 10000 --connections 10000 --seconds 30`: how fast answers come at a rate.

Validations, or with `--reports 1` usage reports, of which `--reports 1000` puts so many into each call.

It spreads the load over driver processes, starts them at one instant, and adds up their records, with the processor
time that the server needed. It ends with 1 where a request failed, or where the p99 is above the limit.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple

from core.clock import rfc3339, utc_now
from core.counted import counted
from loadtest import processor, results
from loadtest.arguments import positive_count, positive_number
from loadtest.customer_calls import CustomersTarget
from loadtest.driver import CannotDrive, Driven, Plan
from loadtest.driving import Target, drivers, share, target_of
from loadtest.histogram import Histogram
from loadtest.recording import Recorder, curve
from loadtest.results import Check, Number, Result
from loadtest.seed_files import SeedFiles
from loadtest.stack import NoStack, data_folder, read_stack


def measure(
    target: Target | CustomersTarget,
    plan: Plan,
    *,
    processes: int,
    pids: Mapping[str, Sequence[int]],
    p99_ms: float | None,
) -> Result:
    """`pids`: the processes of each part that answers, by its name. The run is a failure where a request failed."""
    began = rfc3339(utc_now())
    with drivers(target, share(plan, processes)) as running:
        start = running.start() + plan.warm_up
        sleep(max(0.0, start - perf_counter()))
        before = _Used.now(pids, running.pids)
        sleep(max(0.0, start + plan.seconds - perf_counter()))
        used = _Used.now(pids, running.pids).since(before)
        driven = running.finish()
    # The records of all drivers are one result.
    recorder = Recorder()
    for one in driven:
        recorder.add(one.recorder)
    whole = recorder.whole()
    checks = [Check("requests that failed", 0, sum(recorder.faults.values()))]
    if p99_ms is not None:
        checks.append(Check("p99 in ms", p99_ms, whole.percentile(99) / 1000))
    over = counted(plan.connections, "connection", ",")
    return Result(
        tool="openloop",
        title=f"Open loop: {plan.rate:,.0f} {target.asked} a second over {over}",
        began=began,
        settings={**plan._asdict(), "processes": processes, **target.settings},
        facts=_facts(recorder, driven, plan, target) | used.facts(whole.count, plan.seconds),
        requests=whole.count,
        curve=curve(whole),
        moments=recorder.moments(),
        outcomes=dict(recorder.outcomes),
        faults=dict(recorder.faults),
        checks=checks,
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


class _Used(NamedTuple):
    """Processor time in seconds: of each part of the server, of the drivers, and of the whole machine."""

    parts: Mapping[str, float]
    driver: float
    machine: float

    @classmethod
    def now(cls, parts: Mapping[str, Sequence[int]], driver: Sequence[int]) -> "_Used":
        used = {part: processor.seconds_of(pids) for part, pids in parts.items() if pids}
        return cls(used, processor.seconds_of(driver), processor.busy_seconds())

    def since(self, before: "_Used") -> "_Used":
        parts = {part: used - before.parts[part] for part, used in self.parts.items()}
        return _Used(parts, self.driver - before.driver, self.machine - before.machine)

    def facts(self, requests: int, seconds: float) -> dict[str, str | Number]:
        each = 1e6 / max(1, requests)
        facts: dict[str, str | Number] = {"driver CPU µs per request": self.driver * each}
        for part, used in self.parts.items():
            facts[f"{part} CPU µs per request"] = used * each
            facts[f"{part} cores used"] = used / seconds
        # This includes what is not told above, such as Redis, PostgreSQL and the kernel's own work.
        others = self.machine - self.driver - sum(self.parts.values())
        facts["cores used by all others"] = max(0.0, others) / seconds
        return facts


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    data = data_folder()
    try:
        target, pids = _chosen_target(chosen, data)
        plan = Plan(
            url=target.url,
            rate=chosen.rate,
            connections=chosen.connections,
            seconds=chosen.seconds,
            warm_up=chosen.warm_up,
            patience=chosen.patience,
        )
        result = measure(target, plan, processes=chosen.processes, pids={"server": pids}, p99_ms=chosen.p99_ms)
    except (CannotDrive, NoStack) as fault:
        print(f"openloop: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return results.conclude(result, chosen.out, data)


def _chosen_target(chosen: argparse.Namespace, data: Path) -> tuple[Target, list[int]]:
    """The target from the command line; the running stack fills in what is left out."""
    license_keys = chosen.keys.read_text(encoding="utf-8").split() if chosen.keys else SeedFiles(data).read_keys()
    if not license_keys:
        raise NoStack("there are no license keys: give --keys FILE, or make some with `python -m loadtest.seed`")
    if chosen.url and chosen.api_key:
        key_id, _, secret = chosen.api_key.partition(":")
        return Target(
            chosen.url, (key_id, secret), license_keys, reports=chosen.reports, about=chosen.about
        ), chosen.pid
    stack = read_stack(data)
    part, url = ("billing_api", stack.billing_api) if chosen.reports else ("validator", stack.validator)
    target = target_of(stack, SeedFiles(data))._replace(
        license_keys=license_keys, url=chosen.url or url, reports=chosen.reports, about=chosen.about
    )
    return target, chosen.pid or stack.pids.get(part, [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.openloop", description=__doc__)
    parser.add_argument("--rate", type=positive_number, default=10_000, help="requests a second, in all")
    parser.add_argument("--connections", type=positive_count, default=10_000, help="held open, in all")
    parser.add_argument("--seconds", type=positive_number, default=30)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds at the same rate that are not recorded")
    parser.add_argument(
        "--patience", type=positive_number, default=10, help="seconds after which an answer is given up"
    )
    parser.add_argument("--processes", type=positive_count, default=1, help="driver processes")
    parser.add_argument("--p99-ms", type=positive_number, help="the run fails where p99 is above")
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
