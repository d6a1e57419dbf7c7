"""Benchmark of usage reports (`python -m bench.usage`): their cost here, and in a stack that commits each by itself.

Both use the same PostgreSQL, which flushes every COMMIT to disk. Contenders run on one core, the load and the servers
on the other. The figures are the CPU time of the contender's processes, and PostgreSQL's, over the answered reports;
then the same for reports in lists of a thousand. Every answer is checked. The relay, which tells Redis of new totals,
does not run: it has no part in the answer.

    python -m bench.usage [--seconds 3] [--rounds 5] [--connections 64] [--licenses 2000] [--json FILE]
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import cost, load, running
from bench.contenders import ROOT, Absent, Contender
from bench.ledger import Ledger, ledger
from bench.options import read as read_options
from core.counted import counted
from loadtest.usage_calls import UsageCalls

_WARM_UP: Final = 3.0
_MOST_A_SECOND: Final = 6000
"""Reports prepared for a round: more than any contender on one core can answer, or repeats would be counted."""
_ITEMS: Final = 1000
_LISTS_A_SECOND: Final = 150
_LISTS_AT_ONCE: Final = 4
_OURS: Final = "billing API"
_LISTS: Final = "billing API, lists of 1,000"


class Spent(msgspec.Struct, frozen=True):
    """CPU time for one report."""

    micros: float
    """CPU time of the server."""
    database: float
    """CPU time of PostgreSQL."""
    per_second: float
    p99_ms: float


def main() -> int:
    options = read_options("python -m bench.usage", __doc__, licenses=2000)
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed, one for the contender and one for its load")
    serving, loading = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {loading})
    folder = ROOT / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_things:
        books = open_things.enter_context(ledger(folder, options.licenses))
        taking_part = [open_things.enter_context(running.started(one, folder, serving)) for one in _present(books)]
        rounds = [_round(taking_part, books, folder, options) for _ in range(options.rounds)]
    _print(table(rounds))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rounds)))
    return 0


def _present(books: Ledger) -> list[Contender]:
    present: list[Contender] = [books.billing_api()]
    yardstick = books.fastapi()
    if isinstance(yardstick, Absent):
        _print(f"without {yardstick.name}: {yardstick.reason}")
    else:
        present.append(yardstick)
    return present


def _round(
    taking_part: Sequence[tuple[Contender, int]], books: Ledger, folder: Path, options: argparse.Namespace
) -> Mapping[str, Spent]:
    figures: dict[str, Spent] = {}
    for one, pid in taking_part:
        figures[one.name] = _measure(one, pid, books, folder, options, items=1)
        if one.name == _OURS:
            figures[_LISTS] = _measure(one, pid, books, folder, options, items=_ITEMS)
    return figures


def _measure(
    one: Contender, pid: int, books: Ledger, folder: Path, options: argparse.Namespace, *, items: int
) -> Spent:
    calls = UsageCalls(f"http://127.0.0.1:{one.port}", books.api_key, books.license_keys, items=items)
    a_second = _MOST_A_SECOND if items == 1 else _LISTS_A_SECOND
    connections = options.connections if items == 1 else _LISTS_AT_ONCE

    def loaded(seconds: float) -> tuple[load.Tally, int]:
        requests = folder / "reports"
        ready = [calls.take() for _ in range(round(seconds * a_second))]
        load.write_requests(requests, ready)
        expected = load.RECORDED if items == 1 else load.ALL_RECORDED
        return running.load_on(one, requests, connections, seconds, expected), len(ready)

    loaded(_WARM_UP)
    before, database_before = cost.cpu_seconds(pid), cost.cpu_seconds(books.postgres)
    tally, ready = loaded(options.seconds)
    spent, database = cost.cpu_seconds(pid) - before, cost.cpu_seconds(books.postgres) - database_before
    if tally.wrong or not 0 < tally.answered < ready:
        sys.exit(
            f"bench: {one.name} gave {counted(tally.wrong, 'wrong answer')} of {tally.answered}, {ready} were ready"
        )
    reports = tally.answered * items
    return Spent(
        micros=spent / reports * 1e6,
        database=database / reports * 1e6,
        per_second=reports / tally.seconds,
        p99_ms=tally.p99_ms,
    )


def table(rounds: Sequence[Mapping[str, Spent]]) -> str:
    """Medians of the rounds and their range; a ratio is taken within its round."""
    rows = [f"{'':44}{'CPU µs a report':>26}{'PostgreSQL':>22}{'reports/s':>12}{'p99 ms':>8}{'times ours':>22}"]
    for name in rounds[0]:
        own = [figures[name] for figures in rounds]
        ratios = [figures[name].micros / figures[_OURS].micros for figures in rounds]
        micros, database = _spread([each.micros for each in own]), _spread([each.database for each in own])
        per_second, p99 = median(each.per_second for each in own), median(each.p99_ms for each in own)
        rows.append(f"{name:44}{micros:>26}{database:>22}{per_second:>12,.0f}{p99:>8.1f}{_spread(ratios, 2):>22}")
    return "\n".join(rows)


def _spread(values: Sequence[float], digits: int = 1) -> str:
    return f"{median(values):.{digits}f}  ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
