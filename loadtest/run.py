"""`python -m loadtest.run --scenario mixed --users 50 --seconds 30 --p99-ms 500`: a scenario without a screen.

It ends with 1 where a call failed, where an answer cannot be true, or where the p99 of all calls is above the limit.
Users ask, wait for the answer and think, as people do. To measure a server's latency at a given rate, use
`loadtest.openloop`.
"""

import argparse
import logging
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import gevent  # type: ignore[import-untyped]  # ships no types
from locust.env import Environment

from core.clock import rfc3339, utc_now
from core.counted import counted
from loadtest import results
from loadtest.arguments import positive_count, positive_number
from loadtest.histogram import Histogram
from loadtest.recording import Recorder, curve
from loadtest.results import Check, Result, Row
from loadtest.scenarios.caller import put_off_for
from loadtest.scenarios.casts import CASTS, cast
from loadtest.scenarios.world import world
from loadtest.stack import NoStack, data_folder

_SPAWN_WITHIN: Final = 3
_FINISH_WITHIN: Final = 20


class Witness:
    """Is called by Locust for every request."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._began = perf_counter()
        self._latencies: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._faults: defaultdict[str, int] = defaultdict(int)

    def saw(
        self, *, request_type: str, name: str, response_time: float, exception: Exception | None, **more: Any
    ) -> None:
        microseconds = round(response_time * 1000)
        second = int(perf_counter() - self._began - response_time / 1000)
        call = f"{request_type} {name.removeprefix('/api/v1')}"
        self._latencies[call].record(microseconds)
        response = more.get("response")
        if exception is None and put_off_for(response) is not None:
            self.recorder.put_off_at(second, microseconds, f"{call}: HTTP 503")
        elif exception is None:
            self.recorder.answered(second, microseconds, f"HTTP {getattr(response, 'status_code', '')}")
        else:
            self._faults[call] += 1
            self.recorder.failed(second, microseconds, f"{call}: {exception}")

    def crashed(self, *, exception: Exception, **_: Any) -> None:
        """A task of ours broke: an answer was not what it must be."""
        fault = f"{type(exception).__name__}: {exception}"
        self.recorder.failed(int(perf_counter() - self._began), 0, fault)

    def rows(self) -> list[Row]:
        return [
            Row(
                name=call,
                requests=latencies.count,
                faults=self._faults[call],
                p50=latencies.percentile(50) / 1000,
                p90=latencies.percentile(90) / 1000,
                p99=latencies.percentile(99) / 1000,
                longest=latencies.highest / 1000,
            )
            for call, latencies in sorted(self._latencies.items())
        ]


def play(scenario: str, *, users: int, seconds: float, tags: list[str], p99_ms: float | None) -> Result:
    began, witness = rfc3339(utc_now()), Witness()
    environment = Environment(user_classes=cast(scenario, tags), tags=tags or None, stop_timeout=_FINISH_WITHIN)
    environment.events.request.add_listener(witness.saw)  # type: ignore[no-untyped-call]  # Locust's gap
    environment.events.user_error.add_listener(witness.crashed)  # type: ignore[no-untyped-call]  # Locust's gap
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=max(1.0, users / _SPAWN_WITHIN))
    gevent.sleep(seconds)
    runner.quit()
    recorder = witness.recorder
    whole = recorder.whole()
    checks = [Check("calls that failed", 0, sum(recorder.faults.values()))]
    if p99_ms is not None:
        checks.append(Check("p99 of all calls in ms", p99_ms, whole.percentile(99) / 1000))
    return Result(
        tool="scenario",
        title=f"Scenario {scenario}: {counted(users, 'user')} for {seconds:g} s",
        began=began,
        settings={"scenario": scenario, "users": users, "seconds": seconds, "tags": " ".join(tags)},
        facts={"calls": whole.count, "calls per second": whole.count / seconds},
        requests=whole.count,
        curve=curve(whole),
        moments=recorder.moments(),
        rows=witness.rows(),
        outcomes=dict(recorder.outcomes),
        put_off=dict(recorder.put_off),
        faults=dict(recorder.faults),
        checks=checks,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    logging.getLogger("locust").setLevel(logging.ERROR)
    try:
        world()
    except NoStack as fault:
        print(f"run: {fault}", file=sys.stderr)
        return 1
    try:
        result = play(
            chosen.scenario, users=chosen.users, seconds=chosen.seconds, tags=chosen.tags, p99_ms=chosen.p99_ms
        )
    except KeyboardInterrupt:
        return 130
    return results.conclude(result, chosen.out, data_folder())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.run", description=__doc__)
    parser.add_argument("--scenario", choices=tuple(CASTS), default="mixed")
    parser.add_argument("--users", type=positive_count, default=50)
    parser.add_argument("--seconds", type=positive_number, default=30)
    parser.add_argument("--tags", nargs="*", default=[], help="validate typing reserve usage browse checkout suspend")
    parser.add_argument("--p99-ms", type=positive_number, help="the run fails where p99 of all calls is above")
    parser.add_argument("--out", type=Path, help="default: a file under $NP_DATA/results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
