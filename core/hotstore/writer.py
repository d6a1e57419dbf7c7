"""Writer of the projection: what the relay, the rebuild and the usage reports do to Redis.

Every write is idempotent and ordered by (epoch, version), so callers need no order among themselves: the newest state
wins, however often and however late the others arrive. Calls for many rows leave in pipelines.

A rebuild, for the caller:

    missing = await writer.client.missing_buckets()
    tokens = await writer.begin_rebuild(missing, holds_lost=...)
    ... apply every API key, license and usage total of these buckets ...
    await writer.mark_loaded(bucket, tokens[bucket])     # False: the data went away meanwhile; begin again
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast

from core.hotstore import codec, functions, keys
from core.hotstore.client import HotStoreClient, is_of_reign
from core.hotstore.servers import Command
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LeaseRecord, LicenseRecord

REPORT_SECONDS: Final = 60
"""How long a report may take from its pin to its commit; a pin without a record after that is given up."""

_ROWS_A_CALL: Final = 50  # a function blocks the server, for about 0.1 ms

Row = TypeVar("Row")


class UsageTotal(NamedTuple):
    """The absolute total of one resource, and the reservations whose reports are contained in it."""

    license_hash: bytes
    resource: Resource
    used: int
    epoch: int
    version: int
    settled: tuple[str, ...] = ()


class Hold(NamedTuple):
    """A reservation that a report names."""

    license_hash: bytes
    reservation_id: str
    resource: Resource


Pinned = Literal["pinned", "gone", "other"]
"""`other`: the reservation holds another resource than the report is about."""


class HoldsMade(NamedTuple):
    """How many holds the server has made since its start; a FLUSHALL does not reset the count."""

    run_id: str
    """In a Cluster those of all primaries: when one is replaced, this is another count."""
    holds: int


class Writer:
    def __init__(self, client: HotStoreClient) -> None:
        self.client = client

    async def load_functions(self) -> None:
        """Idempotent. Libraries of other releases stay, for their processes may still run."""
        for answer in await (await self.client.servers()).everywhere("FUNCTION", "LOAD", functions.SOURCE):
            if isinstance(answer, Exception) and "already exists" not in str(answer):
                raise answer

    async def apply_licenses(self, licenses: Sequence[tuple[bytes, LicenseRecord]]) -> int:
        """Writes those that are newer than the stored ones; returns how many."""
        named = ((keys.short_hash(digest), record) for digest, record in licenses)
        rows = ((h, (keys.document(h), codec.encode_license(record))) for h, record in named)
        return await self._apply(">", rows, index=keys.index)

    async def apply_leases(self, leases: Sequence[tuple[bytes, LeaseRecord]]) -> int:
        """Of two leases for one version the one that was signed later wins, in whatever order they come."""
        named = ((keys.short_hash(digest), record) for digest, record in leases)
        return await self._apply(">=", ((h, (keys.lease(h), codec.encode_lease(record))) for h, record in named))

    async def apply_api_keys(self, api_keys: Sequence[ApiKeyRecord]) -> int:
        """A revoked key is written with `active=False`; it is never deleted."""
        rows = ((record.key_id, (keys.api_key(record.key_id), codec.encode_api_key(record))) for record in api_keys)
        placed = ((f"{keys.bucket_of_api_key(key_id):02x}", pair) for key_id, pair in rows)
        return await self._apply(">", placed, index=keys.api_key_index)

    async def apply_usage(self, totals: Sequence[UsageTotal]) -> int:
        """Writes newer totals and ends the settled holds in the same step; returns how many totals were written."""
        commands: list[Command] = []
        for some in _by_bucket((keys.short_hash(total.license_hash), total) for total in totals):
            names = [keys.pins_of(some[0][0]), keys.ended_of(some[0][0])]
            names += [key for h, _ in some for key in (keys.usage(h), keys.holds(h), keys.hold_ends(h))]
            values: list[str | int] = []
            for _, total in some:
                values += (total.resource, total.used, total.epoch, total.version, len(total.settled), *total.settled)
            commands.append((functions.USAGE, len(names), *names, *values))
        return sum(await self._call_all(commands))

    async def publish_synced(self, epoch: int, synced_through: float, reigns: Iterable[str] = ()) -> bool:
        """`synced_through`: unix seconds; everything committed before has been projected.

        `reigns`: those in which the store was complete. A server in another reign has restarted or was promoted since,
        and may lack data: it refuses, and the answer is False. Without reigns it is not asked.
        """
        told = int(synced_through * 1000)
        return bool(await self._call(functions.SYNCED, 1, keys.SYNC, epoch, told, ",".join(sorted(set(reigns)))))

    async def publish_jwks(self, document: bytes) -> None:
        """The public keys that leases are checked with, as JSON; validators hand them out."""
        await self.client.pipeline([("SET", keys.JWKS, document)])

    async def pin(self, holds: Sequence[Hold]) -> list[Pinned]:
        """Keeps holds, without an end, until their reports are recorded."""
        named = ((keys.short_hash(hold.license_hash), hold) for hold in holds)
        commands = [
            (functions.PIN, 3, keys.holds(h), keys.hold_ends(h), keys.pins_of(h), hold.reservation_id, hold.resource)
            for h, hold in named
        ]
        return [cast("Pinned", answer.decode()) for answer in await self._call_all(commands)]

    async def old_pins(self, most: int, *, seconds: int = REPORT_SECONDS) -> list[tuple[str, str]]:
        """Pins that are older than a report may take, as (`h`, reservation id); at most so many for each bucket."""
        asked = [(functions.PINNED, 1, keys.pins(bucket), seconds * 1000, most) for bucket in range(keys.BUCKETS)]
        names = [name.decode() for found in await self._call_all(asked) for name in found]
        return [(h, reservation_id) for h, _, reservation_id in (name.partition(":") for name in names)]

    async def settle(self, h: str, reservation_ids: Iterable[str]) -> int:
        """Ends holds that no report will end; returns how many there were."""
        names = (keys.holds(h), keys.hold_ends(h), keys.pins_of(h), keys.ended_of(h))
        return cast("int", await self._call(functions.SETTLE, len(names), *names, *reservation_ids))

    async def release(self, license_hash: bytes, reservation_id: str) -> bool:
        """Gives a hold back; False where there is none, or where its report is being recorded."""
        h = keys.short_hash(license_hash)
        names = (keys.holds(h), keys.hold_ends(h), keys.ended_of(h))
        answer = await self._call(functions.RELEASE, len(names), *names, reservation_id)
        return bool(answer == b"released")

    async def holds_made(self) -> HoldsMade:
        """Only `reserve` calls HSETNX, and the server counts the calls of each command."""
        infos = await (await self.client.servers()).info("all")
        runs = ",".join(sorted(str(info["run_id"]) for info in infos))
        return HoldsMade(runs, sum(int(info.get("cmdstat_hsetnx", {}).get("calls", 0)) for info in infos))

    async def begin_rebuild(self, buckets: Iterable[int], *, holds_lost: bool) -> dict[int, str]:
        """Starts an incarnation of each bucket.

        `holds_lost`: whether a panel may still rely on an earlier reservation. Then none is granted for
        keys.LONGEST_HOLD, until all earlier ones have been reported or have run out. On a first start it is False.
        """
        runs = await self._reigns()
        tokens = {bucket: f"{runs[bucket]}:{secrets.token_hex(8)}" for bucket in buckets}
        pause = keys.LONGEST_HOLD * 1000 if holds_lost else 0
        await self._call_all([(functions.BEGIN, 1, keys.mark(b), token, pause) for b, token in tokens.items()])
        return tokens

    async def mark_loaded(self, bucket: int, incarnation: str) -> bool:
        """False where this incarnation's data is gone (flushed, restarted), or another rebuild has replaced it."""
        return not await self.mark_all_loaded({bucket: incarnation})

    async def mark_all_loaded(self, tokens: Mapping[int, str]) -> list[int]:
        """The same for many buckets. Returns those that were refused: all of them where a server is unfit."""
        runs, servers = await (await self.client.servers()).survey()
        if any(facts.unfit is not None or not facts.primary for facts in servers):
            return list(tokens)
        asked = [bucket for bucket, token in tokens.items() if is_of_reign(token.encode(), runs[bucket])]
        answers = await self._call_all([(functions.LOADED, 1, keys.mark(bucket), tokens[bucket]) for bucket in asked])
        marked = {bucket for bucket, answer in zip(asked, answers, strict=True) if answer}
        return [bucket for bucket in tokens if bucket not in marked]

    async def empty(self) -> None:
        """Deletes everything; workers fill the store again."""
        for answer in await (await self.client.servers()).everywhere("FLUSHALL"):
            if isinstance(answer, Exception):
                raise answer

    async def _reigns(self) -> Sequence[str]:
        """What an incarnation of each bucket begins with; empty where no server serves it."""
        return (await (await self.client.servers()).survey()).reigns

    async def _apply(
        self,
        order: str,
        rows: Iterable[tuple[str, tuple[str, bytes]]],
        *,
        index: Callable[[int], str] | None = None,
    ) -> int:
        """`rows`: a text that begins with the bucket, then key and packed record."""
        commands: list[Command] = []
        for some in _by_bucket(rows):
            names, records = zip(*(pair for _, pair in some), strict=True)
            indexes = () if index is None else (index(int(some[0][0][:2], 16)),)
            commands.append((functions.APPLY, len(indexes) + len(names), *indexes, *names, order, *records))
        return sum(await self._call_all(commands))

    async def _call(self, *command: str | bytes | int) -> Any:
        return (await self._call_all([command]))[0]

    async def _call_all(self, commands: Sequence[Command]) -> list[Any]:
        return await self.client.pipeline([("FCALL", *command) for command in commands])


def _by_bucket(rows: Iterable[tuple[str, Row]]) -> Iterator[list[tuple[str, Row]]]:
    """Groups rows by bucket, for a call may touch only one slot of a Cluster; not too many, for it blocks."""
    buckets: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for row in rows:
        buckets[row[0][:2]].append(row)
    for some in buckets.values():
        yield from (some[start : start + _ROWS_A_CALL] for start in range(0, len(some), _ROWS_A_CALL))
