"""Locks on an NP_DATA folder: one supervisor at a time, and no processes left over from an earlier run.

Two locks, both let go by the kernel at a process's end, however it ends. The first is the supervisor's. The second is
inherited by every child, so a supervisor that finds the first free and the second held knows that an earlier run was
killed and that some of its processes have not ended yet.
"""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from devstack.faults import CannotStart
from devstack.waiting import wait_until

_LEFTOVERS_END_WITHIN: Final = 30.0
_STOPS_WITHIN: Final = 90.0


@contextmanager
def occupied(data: Path, tell: Callable[[str], None]) -> Iterator[int]:
    """Lock the folder; yields the descriptor that children must inherit."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        mine, theirs = _open(data / "supervisor.lock"), _open(data / "children.lock")
    except OSError as fault:
        raise CannotStart(f"{data} cannot be used ({fault.strerror}): set NP_DATA to a folder you can write") from None
    try:
        if not _take(mine):
            raise CannotStart(
                f"it already runs in {data} (pid {_holder(mine)}): see {data / 'run.json'} for its addresses,"
                " stop it with `make down`, or use other ports and another NP_DATA for a second one"
            )
        os.ftruncate(mine, 0)
        os.pwrite(mine, str(os.getpid()).encode(), 0)
        if not _take(theirs):
            tell("an earlier run was killed; waiting for its processes to end")
            if not wait_until(lambda: _take(theirs), _LEFTOVERS_END_WITHIN):
                raise CannotStart(f"processes of an earlier run do not end: end the ones listed in {data / 'run.json'}")
        yield theirs
    finally:
        os.close(theirs)
        os.close(mine)


def vacate(data: Path) -> bool:
    """Stop the supervisor that uses the folder, and wait until it has; False where there is none."""
    try:
        lock = os.open(data / "supervisor.lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if _take(lock):
            return False
        holder = _holder(lock)
        os.kill(holder, signal.SIGTERM)
        if not wait_until(lambda: _take(lock), _STOPS_WITHIN):
            raise CannotStart(f"pid {holder} was asked to stop and has not: see its terminal, or kill it")
        return True
    finally:
        os.close(lock)


def _open(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> int:
    return int(os.pread(lock, 20, 0) or b"0")
