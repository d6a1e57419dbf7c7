"""Bulk load of an empty hot store: one function call writes dozens of licenses with their leases and totals.

The projection works row by row, with a command for each kind of record. A bulk load sends many packed licenses in one
command, and the function builds their keys. There is a command for each bucket, since a call may touch only one slot of
a Cluster. The rules are those of `apply` and `usage`, so other writers need no order with a rebuild.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.servers import Command
from core.licensing.plan import Resource

LICENSES_A_CALL: Final = 50
"""A function blocks the server; so many take about half a millisecond."""

_FILLED: Final = "filled"
_BUCKETS: Final = "filled_buckets"

Word = str | bytes | int


class LoadedTotal(NamedTuple):
    resource: Resource
    used: int
    version: int


class LicenseBatch:
    """Licenses on their way to Redis, as arguments of the function `fill`."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, list[Word]]] = []
        self._open: defaultdict[int, list[Word]] = defaultdict(list)
        self._members: defaultdict[int, int] = defaultdict(int)
        self.size = 0

    def add(
        self, license_hash: bytes, document: bytes, lease: bytes, epoch: int, totals: Iterable[LoadedTotal]
    ) -> None:
        """`document` and `lease` are packed (core/hotstore/codec.py); without a lease it is empty."""
        values: list[Word] = []
        for resource, used, version in totals:
            values += (resource, used, f"{resource}:v", f"{epoch}:{version}")
        bucket = license_hash[0]
        words = self._open[bucket]
        words += (license_hash[: keys.HASH_BYTES].hex(), document, lease, len(values))
        words += values
        self.size += 1
        self._members[bucket] += 1
        if self._members[bucket] == LICENSES_A_CALL:
            self._calls.append((bucket, self._open.pop(bucket)))
            del self._members[bucket]

    def commands(self, tokens: Mapping[int, str]) -> list[Command]:
        calls = [*self._calls, *self._open.items()]
        return [
            ("FCALL", functions.FILL, 2, keys.index(bucket), keys.mark(bucket), tokens[bucket], *words)
            for bucket, words in calls
        ]


class BulkLoad:
    """One rebuild's load. `tokens`: the incarnation that is being built of each bucket (begin_rebuild)."""

    def __init__(self, client: HotStoreClient, tokens: Mapping[int, str]) -> None:
        self._client = client
        self._tokens = tokens
        self._filled = 0

    async def begin(self) -> None:
        await self._tell()

    async def send(self, batch: LicenseBatch) -> bool:
        """False where a bucket's incarnation is gone, or another one is being built in its place: start again."""
        if not all(await self._client.pipeline(batch.commands(self._tokens))):
            return False
        self._filled += batch.size
        await self._tell()
        return True

    async def _tell(self) -> None:
        await self._client.pipeline([("HSET", keys.SYNC, _FILLED, self._filled, _BUCKETS, len(self._tokens))])


class LoadProgress(NamedTuple):
    """Progress of a rebuild, for people who wait: licenses so far, and how many buckets it fills."""

    licenses: int
    buckets: int


async def load_progress(client: HotStoreClient) -> LoadProgress:
    """Of the latest rebuild, finished or not."""
    [answer] = await client.pipeline([("HMGET", keys.SYNC, _FILLED, _BUCKETS)])
    return LoadProgress(*(int(value or 0) for value in answer))
