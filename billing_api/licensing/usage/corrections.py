"""Corrections: the event that brings a total from below zero to 0.

It has a row and a number of its own, so that each `used_after` follows from the one before and events add up to their
total. Its key names the instant at which the total passed below zero; so there is one correction of it, be it written
by the report that may not draw on the credit or, ten minutes later, by a worker.
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
"""No report may have such an Idempotency-Key."""
_MOST: Final = 500


def key_of(license_id: UUID, resource: str, below_since: datetime) -> str:
    """To the microsecond, as `correct_old` of repository.py writes it too."""
    instant = below_since.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"{KEYS_BEGIN}{license_id}:{resource}:{instant}"


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


async def correct_old(database: Database, clock: Clock) -> int:
    """Corrects the totals that no overtaken report is to be expected for any more; says how many."""
    number = 0
    while True:
        now = clock()
        async with database.as_system() as tx:
            some = await repository.correct_old(tx, below_until=now - OVERTAKEN_WITHIN, now=now, most=_MOST)
        number += some
        if some < _MOST:
            return number
