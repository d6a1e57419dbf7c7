"""Cost of a process: the CPU time of it and everything it started, user and system, in seconds."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import psutil

_SETTLED: Final = 0.05


def family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def pin(pid: int, cores: Iterable[int]) -> None:
    """Pins a process to these cores, with all its threads: a running thread does not follow its process."""
    for process in family(pid):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)


def cpu_seconds(pid: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in family(pid))


def fine_cpu_seconds(pid: int) -> float:
    """`cpu_seconds` to the nanosecond, as the scheduler of Linux counts, of the threads that live.

    The clock of `cpu_seconds` ticks every 10 ms: too coarse where a server spends a few microseconds on each request.
    """
    return sum(int(file.read_text().split()[0]) for file in _accounts(pid)) / 1e9


def _accounts(pid: int) -> Iterator[Path]:
    for process in family(pid):
        yield from Path(f"/proc/{process.pid}/task").glob("*/schedstat")


def idle(pid: int, *, seconds: float) -> float:
    """CPU seconds per second that a process uses without requests."""
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)
