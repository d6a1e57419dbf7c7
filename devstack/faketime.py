"""Another instant for a command and all that it starts: `python -m devstack.faketime 2027-01-31T23:59:20Z pytest`.

Debian's libfaketime moves the clocks of every process into which it is loaded. They are moved by a fixed distance
(FAKETIME=+N), never to a fixed instant: each process that starts later would begin at that instant again, and
PostgreSQL, Valkey and the tests would disagree about the time. The monotonic clock moves along, for asyncio and
PostgreSQL compute deadlines of one clock and wait for them by the other.

One thing does not work at another instant: a lock of `threading` that is waited for with a time limit never gives up,
since glibc's sem_clockwait is not moved. Locks that are released in time, asyncio and subprocess are not concerned.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from core.clock import utc_now
from core.settings import process_environment
from devstack.faults import CannotStart

_LIBRARY: Final = "*/faketime/libfaketime.so.1"
_USAGE: Final = "python -m devstack.faketime INSTANT COMMAND [ARGUMENT…]"


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables for a server that starts with its own environment, so that its clock is the tests' clock."""
    if "FAKETIME" not in environment:
        return {}
    return {name: environment[name] for name in ("LD_PRELOAD", "FAKETIME") if name in environment}


def moved_to(instant: datetime, environment: Mapping[str, str], now: datetime) -> dict[str, str]:
    """`environment`, so that a process with it starts at `instant`; `now` is what clocks show in it as it is."""
    library = installed()
    if library is None:
        raise CannotStart("libfaketime is not installed: install it (Debian: apt-get install libfaketime)")
    distance = round((instant - now).total_seconds()) + int(environment.get("FAKETIME", "0"))
    kept = {name: value for name, value in environment.items() if name != "FAKETIME_SHARED"}
    return kept | {"LD_PRELOAD": library, "FAKETIME": f"{distance:+d}"}


def installed() -> str | None:
    """Path of the library."""
    return next((str(file) for file in sorted(Path("/usr/lib").glob(_LIBRARY))), None)


def read(text: str) -> datetime:
    """An instant with its offset from UTC, as RFC 3339 writes it."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CannotStart(f"{text} is no instant: write it like 2027-01-31T23:59:20Z") from None
    if instant.tzinfo is None:
        raise CannotStart(f"{text} does not say its offset from UTC: write it like 2027-01-31T23:59:20Z")
    return instant


def main(arguments: Sequence[str]) -> NoReturn:
    if len(arguments) < 2:
        sys.exit(f"usage: {_USAGE}")
    text, *command = arguments
    try:
        environment = moved_to(read(text), process_environment(), utc_now())
    except CannotStart as fault:
        sys.exit(f"make test: {fault}")
    os.execvpe(command[0], command, environment)  # noqa: S606  the command that was typed


if __name__ == "__main__":
    main(sys.argv[1:])
