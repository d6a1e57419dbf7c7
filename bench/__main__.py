"""Benchmark of validations: starts all contenders with one Redis, loads them in turn, prints their cost per request.

Contenders run on one core, the load and Redis on the other. Only the contender's own CPU time is counted: that of its
processes, user and system, over the requests it answered. Every answer is checked.

    python -m bench [--seconds 3] [--rounds 5] [--connections 64] [--licenses 1000] [--only WORD] [--json FILE]
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import httpx
import msgspec

from bench import contenders, cost, load, material, report, running
from bench.contenders import HOST, ROOT, Absent, Contender, Place
from bench.options import read as read_options
from core.counted import counted
from core.settings import validator_settings

_WARM_UP: Final = 1.5


def main() -> None:
    options = read_options("python -m bench", __doc__, licenses=1000, choice=True)
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed, one for the contender and one for its load")
    serving, loading = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, {loading})
    folder = ROOT / ".data" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_things:
        place = open_things.enter_context(running.place(folder))
        keys = material.make_keys(options.licenses, validator_settings(place.env).secrets)
        asyncio.run(material.fill(place.redis_url, keys, validator_settings(place.env).secrets))
        taking_part = [
            open_things.enter_context(running.started(one, folder, serving)) for one in _present(place, options.only)
        ]
        rounds = [_round(taking_part, keys, folder, options) for _ in range(options.rounds)]
    _print(report.table(rounds))
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(rounds)))


def _present(place: Place, words: Sequence[str]) -> list[Contender]:
    """The contenders that can be started and were chosen: by one of the words, or all; the reference always."""
    present: list[Contender] = []
    for one in contenders.all_of_them(place):
        if words and one.name != report.REFERENCE and not any(word in one.name for word in words):
            continue
        if isinstance(one, Absent):
            _print(f"without {one.name}: {one.reason}")
        else:
            present.append(one)
    return present


def _round(
    taking_part: Sequence[tuple[Contender, int]], keys: Sequence[str], folder: Path, options: argparse.Namespace
) -> Mapping[str, report.Measured]:
    requests = folder / "requests"
    load.write_requests(requests, material.signed_requests(keys))
    figures: dict[str, report.Measured] = {}
    for one, pid in taking_part:
        _check_answer(one, keys[0])
        running.load_on(one, requests, options.connections, _WARM_UP)
        before = cost.cpu_seconds(pid)
        tally = running.load_on(one, requests, options.connections, options.seconds)
        spent = cost.cpu_seconds(pid) - before
        if tally.wrong or not tally.answered:
            sys.exit(f"bench: {one.name} gave {counted(tally.wrong, 'wrong answer')} of {tally.answered}")
        figures[one.name] = report.Measured(
            micros=spent / tally.answered * 1e6,
            per_second=tally.answered / tally.seconds,
            p99_ms=tally.p99_ms,
        )
    return figures


def _check_answer(one: Contender, key: str) -> None:
    """Every contender must give the same answer, before anything is measured."""
    (request,) = material.signed_requests([key])
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    answer = httpx.post(f"http://{HOST}:{one.port}{material.PATH}", content=body, headers=headers, timeout=5)
    told = answer.json()
    if told.get("valid") is not True or told.get("remaining_quota") != material.LIMIT - material.USED:
        sys.exit(f"bench: {one.name} answers {answer.status_code} {answer.text[:200]}")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
