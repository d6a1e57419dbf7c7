"""Clock: the only file that reads the time.

All other code is handed a `Clock` (a function that returns an aware UTC instant) or an instant, so that a test can set
the time and a rule can be asked about any moment.

In the devstack, time can be moved: the processes of a stack share a file, and add the seconds that stand in it. They
map it into memory, so that all see a change at once, and reading it costs no system call. Elsewhere there is no file
to look for, and `unix_time` is the builtin function. docs/decisions/0053-time-that-can-be-moved.md says what is moved.
"""

import mmap
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

Clock = Callable[[], datetime]

_WIDTH: Final = 8
"""Bytes of the file: one signed number of seconds, in the machine's own order, so that it is read in one piece."""


class MovedClock:
    """The clock of a devstack: the real time and the seconds that stand in a file.

    Raises OSError where the file cannot be opened, ValueError where it is too short.
    """

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._shared = memoryview(mmap.mmap(opened.fileno(), _WIDTH, access=mmap.ACCESS_READ)).cast("q")

    def seconds(self) -> int:
        """By how much time has been moved."""
        return self._shared[0]

    def unix_time(self) -> float:
        return time.time() + self._shared[0]

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self._shared[0], UTC)


def clock_file(environment: Mapping[str, str]) -> Path | None:
    """The file that says by how much time is moved; None outside of a devstack."""
    if environment.get("NP_ENVIRONMENT") != "devstack" or not environment.get("NP_DATA"):
        return None
    return Path(environment["NP_DATA"]) / "clock"


def keep_clock(file: Path) -> None:
    """Make the file, if it is not there: time that is not moved."""
    if not file.exists():
        move_clock(file, 0)


def move_clock(file: Path, seconds: int) -> None:
    """From now on all processes that share the file add so many seconds."""
    with file.open("r+b" if file.exists() else "w+b") as opened:
        opened.truncate(_WIDTH)
        with mmap.mmap(opened.fileno(), _WIDTH) as shared, memoryview(shared) as raw, raw.cast("q") as number:
            number[0] = seconds


def _moved() -> MovedClock | None:
    file = clock_file(os.environ)
    return MovedClock(file) if file is not None and file.exists() else None


def _utc_now() -> datetime:
    return datetime.now(UTC)


MOVED: Final = _moved()
"""The devstack's clock, in a process of a devstack."""

utc_now: Final[Clock] = MOVED.utc_now if MOVED else _utc_now
"""The current instant, aware, in UTC, with microseconds."""

unix_time: Final[Callable[[], float]] = MOVED.unix_time if MOVED else time.time
"""Seconds since the epoch; the builtin itself, because the validator calls it for each request."""


def rfc3339(instant: datetime) -> str:
    """`2026-01-31T12:00:00.123Z`: UTC, milliseconds, as all of our wire formats write instants (RFC 3339)."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
