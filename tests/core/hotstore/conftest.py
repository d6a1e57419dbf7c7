"""A writer and a reader on a server that is empty but for the functions."""

from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import settings
from redis.asyncio import Redis

from core.clock import unix_time
from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.hotstore.snapshot import reserve_keys
from core.hotstore.writer import Writer
from core.licensing.plan import Resource
from core.licensing.record import LicenseRecord
from core.licensing.state import Status

AHEAD: Final = 60_000

settings.register_profile("many")  # for `make histories`; what it means stands in test_histories.py


class HotStore(NamedTuple):
    redis: Redis
    writer: Writer
    reader: Reader
    run_id: str

    async def load(self, *, holds_lost: bool = False) -> None:
        tokens = await self.writer.begin_rebuild(range(keys.BUCKETS), holds_lost=holds_lost)
        for bucket, token in tokens.items():
            assert await self.writer.mark_loaded(bucket, token)

    async def reserve(
        self,
        license_hash: bytes,
        hold_id: str,
        count: int = 1,
        resource: Resource = "domains",
        ttl_ms: int = 30_000,
        version: int = 1,
        run_id: str | None = None,
        synced_through: int | None = None,
    ) -> list[Any]:
        """The function as the validator calls it. `synced_through`: ms; else all has been projected."""
        synced = int(unix_time() * 1000) + AHEAD if synced_through is None else synced_through
        names = reserve_keys(keys.short_hash(license_hash))
        args = (resource, count, ttl_ms, hold_id, 1, version, self.run_id if run_id is None else run_id, synced)
        (answer,) = await self.writer._call_all([(functions.RESERVE, len(names), *names, *args)])
        return [part.decode() if isinstance(part, bytes) else part for part in answer]


def a_license(number: int = 1, **changes: Any) -> tuple[bytes, LicenseRecord]:
    facts: dict[str, Any] = {
        "epoch": 1,
        "version": 1,
        "license_id": uuid4(),
        "status": Status.ACTIVE,
        "limits": {"domains": 3, "databases": 50, "emails": None},
    }
    return number.to_bytes(16, "big"), LicenseRecord(**facts | changes)


@pytest.fixture
async def store(valkey: str) -> AsyncIterator[HotStore]:
    async with Redis.from_url(valkey) as redis:
        writer = Writer(HotStoreClient(redis))
        await writer.load_functions()
        run_id = (await writer.holds_made()).run_id[: keys.RUN_ID_LENGTH]
        yield HotStore(redis, writer, Reader(HotStoreClient(redis)), run_id)
