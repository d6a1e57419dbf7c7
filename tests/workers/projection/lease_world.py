"""Leases as both stores hold them, with a clock to turn and signers that follow it."""

from datetime import datetime
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.crypto.lease import JwkSet
from core.hotstore import codec, keys
from core.hotstore.writer import Writer
from core.licensing.lease import LeaseReading, read
from core.licensing.record import LeaseRecord
from db.unit_of_work import Database
from tests.support.databases import rows
from tests.support.servers import DatabaseUrls
from workers.projection.lease_signer import Leases
from workers.projection.relay import Relay

K1: Final = {"k1": bytes(range(32))}
K2: Final = {"k2": bytes(reversed(range(32)))}


class LeaseWorld:
    """Leases as they are in both stores, a clock to turn, and signers that follow it."""

    def __init__(self, urls: DatabaseUrls, redis: Redis, database: Database, writer: Writer) -> None:
        self.urls = urls
        self.redis = redis
        self.database = database
        self.writer = writer
        self.now = utc_now()
        self.signed: list[int] = []

    def clock(self) -> datetime:
        return self.now

    def leases(self, seeds: dict[str, bytes] | None = None, batch: int = 200) -> Leases:
        return Leases(self.database, self.writer, seeds or K1, self.clock, signed=self.signed.append, batch=batch)

    def relay(self, leases: Leases | None = None) -> Relay:
        changed = (lambda _: None) if leases is None else leases.changed
        return Relay(self.database, self.writer, utc_now, complete=lambda: True, changed=changed)

    async def stored(self) -> list[dict[str, Any]]:
        return await rows(self.urls, "SELECT * FROM leases ORDER BY license_id")

    async def projected(self, license_hash: bytes) -> LeaseRecord | None:
        packed = await self.redis.get(keys.lease(keys.short_hash(license_hash)))
        return None if packed is None else codec.decode_lease(packed)

    async def in_force(self) -> int:
        """How many licenses have a lease of their present version; fails where the stores tell of different ones."""
        found = await rows(
            self.urls,
            "SELECT license_key_hash, token, leases.version FROM leases JOIN licenses"
            " ON licenses.id = license_id AND licenses.version = leases.version",
        )
        for row in found:
            record = await self.projected(row["license_key_hash"])
            assert record is not None
            assert (record.token, record.version) == (row["token"], row["version"])
        return len(found)

    async def jwks(self) -> dict[str, bytes]:
        return msgspec.json.decode(await self.redis.get(keys.JWKS), type=JwkSet).public_keys()

    async def reading(self, issued: Issued, **question: Any) -> LeaseReading:
        """What a panel makes of the lease that stands in the hot store, with the keys that stand there."""
        record = await self.projected(issued.license.license_key_hash)
        assert record is not None
        return read(record.token, await self.jwks(), **{"now": self.now.timestamp(), **question})
