"""Contents of PostgreSQL and Redis, read directly once nothing moves any more."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from time import monotonic
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
from redis.asyncio import Redis
from redis.exceptions import RedisError

from chaos.history import Books, Counter, Event
from chaos.system import System
from core.errors import Unavailable
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.licensing.plan import RESOURCES

_LOOK_EACH: Final = 0.2
_UNAPPLIED: Final = "SELECT count(*) FROM outbox WHERE lane = 'projection' AND done_at IS NULL AND dead_at IS NULL"


class NotQuiet(Exception):
    """Something did not come to rest; the text names it."""


class Stores:
    def __init__(self, system: System, license_ids: Sequence[str]) -> None:
        self._system = system
        self._ids = license_ids

    async def come_to_rest(self, patience: float) -> None:
        """Waits until every part is ready, nothing waits to be projected, and every hold has ended."""
        until, noise = monotonic() + patience, ""
        while monotonic() < until:
            noise = await self._noise()
            if not noise:
                return
            await asyncio.sleep(_LOOK_EACH)
        raise NotQuiet(f"after {patience:.0f} s {noise}")

    async def books(self) -> Books:
        connection = await asyncpg.connect(self._system.facts["owner_database_url"])
        try:
            events = await connection.fetch("SELECT * FROM usage_events WHERE license_id = ANY ($1)", self._ids)
            totals = await connection.fetch("SELECT * FROM license_usage WHERE license_id = ANY ($1)", self._ids)
            licenses = await connection.fetch("SELECT * FROM licenses WHERE id = ANY ($1)", self._ids)
        finally:
            await connection.close()
        return Books(
            events=[_event(row) for row in events],
            totals={Counter(str(row["license_id"]), row["resource"]): row["used"] for row in totals},
            hot=await self._hot(licenses),
            limits={
                Counter(str(row["id"]), resource): row[f"max_{resource}"] for row in licenses for resource in RESOURCES
            },
        )

    async def _noise(self) -> str:
        try:
            if not await self._system.is_ready():
                return "a part is not ready"
            connection = await asyncpg.connect(self._system.facts["owner_database_url"])
            try:
                if waiting := await connection.fetchval(_UNAPPLIED):
                    return f"changes that are not projected: {waiting}"
                hashes = await connection.fetch("SELECT license_key_hash FROM licenses WHERE id = ANY ($1)", self._ids)
            finally:
                await connection.close()
            async with aclosing(Redis.from_url(self._system.facts["redis_url"])) as redis:
                reader = Reader(HotStoreClient(redis))
                held = sum([any((await reader.read(row[0])).usage.held.values()) for row in hashes])
        except (OSError, asyncpg.PostgresError, RedisError, Unavailable) as fault:
            return f"a store does not answer ({fault})"
        return f"licenses with holds that did not end: {held}" if held else ""

    async def _hot(self, licenses: Sequence[Any]) -> dict[Counter, int]:
        found: dict[Counter, int] = {}
        async with aclosing(Redis.from_url(self._system.facts["redis_url"])) as redis:
            for row in licenses:
                name = keys.usage(keys.short_hash(row["license_key_hash"]))
                used = await redis.hmget(name, RESOURCES)
                for resource, value in zip(RESOURCES, used, strict=True):
                    if value is not None:
                        found[Counter(str(row["id"]), resource)] = int(value)
        return found


def _event(row: Any) -> Event:
    return Event(
        counter=Counter(str(row["license_id"]), row["resource"]),
        key=row["idempotency_key"],
        action=row["action"],
        count=row["count"],
        reservation_id=row["reservation_id"],
        occurred_at=row["occurred_at"].timestamp(),
        created_at=row["created_at"].timestamp(),
        used_after=row["used_after"],
        order=row.get("seq"),
    )
