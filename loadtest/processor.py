"""Processor time and memory as Linux counts them (proc(5)): of some processes, and of the whole machine.

A measurement on a machine that others use at the same time shows how much they used.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_IDLE_FIELDS: Final = (3, 4)  # idle and iowait


def seconds_of(pids: Iterable[int]) -> float:
    """User and system time these processes and those they started have used so far. One that has gone counts 0."""
    return sum(map(_seconds, family(pids)))


def resident_mb(pids: Iterable[int]) -> float:
    """Resident memory of these processes and those they started; pages that they share count for each of them."""
    return sum(map(_resident_pages, family(pids))) * os.sysconf("SC_PAGE_SIZE") / 1e6


def family(pids: Iterable[int]) -> set[int]:
    """The processes themselves and all their descendants."""
    found: set[int] = set()
    open_ends = list(pids)
    while open_ends:
        pid = open_ends.pop()
        if pid not in found:
            found.add(pid)
            open_ends += _children(pid)
    return found


def busy_seconds() -> float:
    """Of all processors together, since the machine started."""
    fields = [int(field) for field in (_PROC / "stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(ticks for place, ticks in enumerate(fields) if place not in _IDLE_FIELDS) / _ticks()


def _seconds(pid: int) -> float:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return (int(fields[11]) + int(fields[12])) / _ticks()


def _resident_pages(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0


def _children(pid: int) -> list[int]:
    """Of all its threads."""
    found: list[int] = []
    for thread in (_PROC / str(pid) / "task").glob("*"):
        try:
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
        except OSError:
            continue
    return found


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")
