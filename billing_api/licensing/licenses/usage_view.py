"""Usage of a license now: recorded totals from PostgreSQL, live reservations from Redis.

A file of its own because it is the one view that reads two stores.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from redis.exceptions import RedisError

from billing_api.licensing.licenses.schemas import ResourceUsage, UsageView
from core.hotstore.functions import NotReady
from core.hotstore.reader import Reader
from core.licensing.plan import RESOURCES, Limits, Resource

HELD_WITHIN: Final = 0.2
"""Seconds to wait for the held amounts from Redis; after that they are shown as not known."""


async def usage_view(hot_store: Reader, key_hash: bytes, limits: Limits, used: Mapping[str, int]) -> UsageView:
    """`key_hash`: the license's in Redis."""
    held = await _held(hot_store, key_hash)
    return UsageView(
        {
            name: _resource(used.get(name, 0), None if held is None else held.get(name, 0), limits.of(name))
            for name in RESOURCES
        }
    )


async def _held(hot_store: Reader, key_hash: bytes) -> Mapping[Resource, int] | None:
    """Counts of live reservations, which only Redis knows; None where it does not answer in time."""
    try:
        async with asyncio.timeout(HELD_WITHIN):
            reading = await hot_store.read(key_hash)
    except (RedisError, OSError, NotReady):  # TimeoutError is an OSError
        return None
    return None if reading.loaded is None else reading.usage.held


def _resource(used: int, held: int | None, limit: int | None) -> ResourceUsage:
    shown = max(0, used)
    return ResourceUsage(used=shown, held=held, limit=limit, over=max(0, shown - limit) if limit is not None else 0)
