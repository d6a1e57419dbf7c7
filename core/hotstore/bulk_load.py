"""Filling an empty hot store: one call of a function brings dozens of licenses with all that is theirs.

What the projection does row by row, spelling keys and sending a command for each kind of record, is done here for many
at once: records come packed, the function spells the keys, and there is a command for each bucket, since a call may
touch one slot of a Cluster. The rules are those of `apply` and `usage`, so whoever writes beside a rebuild needs no
order with it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from core.hotstore import functions, keys
from core.hotstore.servers import Command
from core.hotstore.writer import HotStoreWriter
from core.licensing.plan import Resource

LICENSES_A_CALL: Final = 50
"""A function blocks the server: for about half a millisecond."""

_FILLED: Final = "filled"
_BUCKETS: Final = "filled_buckets"

Word = str | bytes | int


class LoadedTotal(NamedTuple):
    resource: Resource
    used: int
    version: int


class Load:
    """Licenses on their way to Redis, in the words of the function `fill`."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, list[Word]]] = []
        self._open: defaultdict[int, list[Word]] = defaultdict(list)
        self._members: defaultdict[int, int] = defaultdict(int)
        self.size = 0

    def add(
        self, license_hash: bytes, document: bytes, lease: bytes, epoch: int, totals: Iterable[LoadedTotal]
    ) -> None:
        """`document` and `lease` are packed (core/hotstore/codec.py); no lease is empty."""
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


class HotStoreFilling:
    """One rebuild's way in. `tokens`: the incarnation that is being built of each bucket (begin_rebuild)."""

    def __init__(self, writer: HotStoreWriter, tokens: Mapping[int, str]) -> None:
        self._writer = writer
        self._tokens = tokens
        self._filled = 0

    async def begin(self) -> None:
        await self._tell()

    async def send(self, load: Load) -> bool:
        """False where a bucket's incarnation is gone, or another one is being built in its place: begin again."""
        if not all(await self._writer.ask(load.commands(self._tokens))):
            return False
        self._filled += load.size
        await self._tell()
        return True

    async def _tell(self) -> None:
        await self._writer.ask([("HSET", keys.SYNC, _FILLED, self._filled, _BUCKETS, len(self._tokens))])


class Filled(NamedTuple):
    """How far a rebuild has come, for people who wait: licenses so far, and of how many buckets it will bring them."""

    licenses: int
    buckets: int


async def filled(writer: HotStoreWriter) -> Filled:
    """Of the newest rebuild, be it at work or not."""
    [answer] = await writer.ask([("HMGET", keys.SYNC, _FILLED, _BUCKETS)])
    return Filled(*(int(value or 0) for value in answer))
