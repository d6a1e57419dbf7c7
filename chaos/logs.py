"""Broken logs: standard error of a part cannot be written, because its reader has gone or the disk of its log is full.

The supervisor opens a part's log by its path whenever it starts the part. So for one start something else lies at that
path: a pipe whose reader goes away afterwards (EPIPE), or /dev/full (ENOSPC). The part keeps it until it is restarted.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psutil

from devstack.waiting import wait_until

_STARTED_WITHIN: Final = 15.0
Family = Callable[[], list[psutil.Process]]


def close_reader(log: Path, kill: Callable[[], bool], descendants: Family) -> bool:
    """Kill the part and let it start with a pipe, then close its reader. Whether there was something to kill."""
    with _in_place_of(log, os.mkfifo):
        reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a reader would stop the supervisor
        try:
            return kill() and _opened(log, descendants)
        finally:
            os.close(reader)


def fill_log(log: Path, kill: Callable[[], bool], descendants: Family) -> bool:
    """Kill the part and let it start with /dev/full as its log."""
    with _in_place_of(log, lambda path: path.symlink_to("/dev/full")):
        return kill() and _opened(log, descendants)


@contextmanager
def _in_place_of(log: Path, make: Callable[[Path], None]) -> Iterator[None]:
    kept = log.with_name(log.name + ".kept")
    log.rename(kept)
    try:
        make(log)
        yield
    finally:
        kept.replace(log)


def _opened(log: Path, descendants: Family) -> bool:
    """Wait until a process has it as its standard error."""
    wanted = log.stat()

    def is_held() -> bool:
        return any(_stderr_is(process, wanted) for process in descendants())

    wait_until(is_held, _STARTED_WITHIN)
    return True


def _stderr_is(process: psutil.Process, wanted: os.stat_result) -> bool:
    with suppress(OSError):
        found = Path(f"/proc/{process.pid}/fd/2").stat()
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
    return False
