"""Clock: the only file that reads the time.

All other code is handed a `Clock` (a function that returns an aware UTC instant) or an instant, so that a test can set
the time and a rule can be asked about any moment.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The current instant, aware, in UTC, with microseconds."""
    return datetime.now(UTC)


unix_time: Final[Callable[[], float]] = time.time
"""Seconds since the epoch; the builtin itself, because the validator calls it for each request."""


def rfc3339(instant: datetime) -> str:
    """`2026-01-31T12:00:00.123Z`: UTC, milliseconds, as all of our wire formats write instants (RFC 3339)."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
