"""Correction events: an event of our own that brings a total from below zero to 0.

It has its own row and number, so each `used_after` follows from the one before, and events add up to their total. Its
key contains the instant at which the total fell below zero. So there is exactly one correction, whether the next
creation causes it or, ten minutes later, a worker.
"""

import hashlib
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from billing_api.licensing.usage import repository
from core.clock import Clock
from core.licensing.counting import OVERTAKEN_WITHIN
from db.unit_of_work import Database

KEYS_BEGIN: Final = "floor:"
"""Reserved prefix: an Idempotency-Key of a report must not begin with it."""
_MOST: Final = 500


def key_of(license_id: UUID, resource: str, below_since: datetime) -> str:
    """The correction's key, to the microsecond; `correct_old` in repository.py builds the same one in SQL."""
    instant = below_since.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{KEYS_BEGIN}{license_id}:{resource}:{instant}"


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def correct_old(database: Database, clock: Clock) -> int:
    """Corrects the totals for which no overtaken report can arrive any more; returns how many."""
    number = 0
    while True:
        now = clock()
        async with database.as_system() as tx:
            some = await repository.correct_old(tx, below_until=now - OVERTAKEN_WITHIN, now=now, most=_MOST)
        number += some
        if some < _MOST:
            return number
