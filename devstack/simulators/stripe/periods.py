"""Calendar arithmetic for billing periods: a month after 31 January is the last of February, then 31 March.

The anchor's day is kept: each end is counted from the anchor and not from the end before it, or a subscription of the
31st would drift to the 28th for good. All in UTC.
"""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import Final

_DAYS: Final = {"day": 1, "week": 7}
_MONTHS: Final = {"month": 1, "year": 12}


def period_after(start: int, anchor: int, interval: str, count: int) -> int:
    """The end of the period that begins at `start`, for a subscription anchored at `anchor` (Unix seconds)."""
    if interval in _DAYS:
        return int((_instant(start) + timedelta(days=_DAYS[interval] * count)).timestamp())
    step = _MONTHS[interval] * count
    passed = 1
    while (end := _months_later(anchor, step * passed)) <= start:
        passed += 1
    return end


def duration_after(start: int, interval: str, count: int) -> int:
    """So many intervals after `start`, by the calendar."""
    return period_after(start, start, interval, count)


def _months_later(anchor: int, months: int) -> int:
    at = _instant(anchor)
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    day = min(at.day, monthrange(year, month + 1)[1])
    return int(at.replace(year=year, month=month + 1, day=day).timestamp())


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
