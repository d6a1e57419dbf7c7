"""Comparison and repair of the hot store, for reconciliation with Postgres (workers/reconciliation/run.py).

Nothing here trusts what the projection has noted. A digest is made by reading every record at the moment it is asked
for. So a key that somebody deleted or edited by hand is found, like one that was never written.

A digest covers the part of a bucket's index between two names, so long that it blocks the server for less than a
millisecond. Digests are asked for one at a time: the server executes a whole pipeline before it looks at another
connection, and validators wait for only 50 ms.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.servers import Command
from core.licensing.plan import RESOURCES, Resource
from core.parts import beat

LINES_A_CALL: Final = 150
"""A digest of so many lines takes 0.7 ms of the server's time."""

_KEYS_A_STEP: Final = 1000
"""So many keys are scanned in about half a millisecond."""

_RESOURCES: Final[Sequence[Resource]] = sorted(RESOURCES)
ABSENT: Final = b"-"


@dataclass(frozen=True)
class RecordKind:
    """A kind of record that each bucket has an index of."""

    index: Callable[[int], str]
    document: Callable[[str], str]
    bucket: Callable[[str], int]
    documents: str
    indexes: str
    totals: str
    """Key prefix of the totals beside a document, which has a lease then, too; empty where there is neither."""

    def is_at(self, key: str) -> bool:
        """Whether this could be the key of a document of this kind."""
        prefix, name = key[:3], key[9:]
        try:
            return prefix == self.documents and self.document(name) == key and self.bucket(name) >= 0
        except ValueError:
            return False

    def holds(self, name: str, bucket: int) -> bool:
        """Whether this could be a name in the bucket's index."""
        try:
            return self.bucket(name) == bucket
        except ValueError:
            return False


LICENSES: Final = RecordKind(
    keys.index, keys.document, keys.bucket_of_license, keys.DOCUMENT_KIND, keys.INDEX_KIND, keys.USAGE_KIND
)
API_KEYS: Final = RecordKind(
    keys.api_key_index, keys.api_key, keys.bucket_of_api_key, keys.API_KEY_KIND, keys.API_KEY_INDEX_KIND, ""
)


class Part(NamedTuple):
    """The names of a bucket's index after `after` up to `upto`; empty text is its beginning or its end."""

    bucket: int
    after: str
    upto: str


class Digest(NamedTuple):
    """`loaded`: the incarnation that it belongs to; where it is None nothing may be concluded."""

    loaded: bytes | None
    size: int
    sha1: str


class Lines(NamedTuple):
    loaded: bytes | None
    of: dict[str, str]
    """By name: name, stamp, totals and lease, written as workers/reconciliation/screening.py writes them."""


class Total(NamedTuple):
    """Raw, as the function writes values: `-` (absent), `?` (another type), or `=` and the value."""

    used: bytes = ABSENT
    stamp: bytes = ABSENT


class StoredRecord(NamedTuple):
    loaded: bytes | None
    document: bytes
    """Raw, as the function writes values; so is the lease."""
    lease: bytes
    totals: Mapping[Resource, Total]

    @property
    def packed(self) -> bytes | None:
        """None where there is no document, or something else in its place."""
        return self.document[1:] if self.document[:1] == b"=" else None

    @property
    def absent(self) -> bool:
        return self.document == ABSENT


class NewTotal(NamedTuple):
    used: int
    epoch: int
    version: int


class Repair(NamedTuple):
    """Compare and set: what replaces what was seen. A document or lease of None stays; a total of None is deleted."""

    name: str
    seen: StoredRecord
    document: bytes | None
    lease: bytes | None
    totals: Mapping[Resource, NewTotal | None]


class Comparison:
    def __init__(self, client: HotStoreClient) -> None:
        self._client = client

    async def digests(self, kind: RecordKind, parts: Sequence[tuple[Part, int]]) -> list[Digest]:
        """For each part, of so many lines at most: allow one more than expected, so that the size shows a surplus."""
        answers = await self._client.pipeline([_digest(kind, part, most, "digest") for part, most in parts])
        return [Digest(loaded, size, sha1.decode()) for loaded, size, sha1 in answers]

    async def lines(self, kind: RecordKind, part: Part) -> Lines:
        """All lines that the digest is made of."""
        found: dict[str, str] = {}
        while True:
            [(loaded, size, lines)] = await self._client.pipeline([_digest(kind, part, LINES_A_CALL, "lines")])
            texts = [line.decode(errors="replace") for line in lines]
            found |= {text.partition(" ")[0]: text for text in texts}
            if loaded is None or size < LINES_A_CALL:
                return Lines(loaded, found)
            part = part._replace(after=texts[-1].partition(" ")[0])

    async def stored(self, kind: RecordKind, names: Iterable[str]) -> dict[str, StoredRecord]:
        found: dict[str, StoredRecord] = {}
        buckets: dict[int, list[str]] = {}
        for name in names:
            buckets.setdefault(kind.bucket(name), []).append(name)
        for bucket, mine in buckets.items():
            for start in range(0, len(mine), LINES_A_CALL):
                some = mine[start : start + LINES_A_CALL]
                [(loaded, *told)] = await self._client.pipeline([_read_stored(kind, bucket, some)])
                found |= {name: _stored_record(loaded, one) for name, one in zip(some, told, strict=True)}
        return found

    async def repair(self, kind: RecordKind, repairs: Sequence[Repair]) -> list[bool]:
        """True for each that is in place now; False where the store no longer had what was seen."""
        answers = await self._client.pipeline([_repair(kind, repair) for repair in repairs])
        return [answer == b"repaired" for answer in answers]

    async def clear(self, kind: RecordKind, names: Iterable[str]) -> None:
        """Deletes documents with totals and leases. Only for buckets where an absent record means nothing."""
        await self._client.pipeline([("DEL", *_keys(kind, name)) for name in names])

    async def strays(self) -> AsyncIterator[str]:
        """Keys of documents and API keys that no index names, and that are no tombstones. They may have any name."""
        prefixes = [prefix for kind in (LICENSES, API_KEYS) for prefix in (kind.documents, kind.indexes)]
        async for found in self._client.walk(
            lambda cursor: ("FCALL_RO", functions.STRAYS, 0, cursor, _KEYS_A_STEP, *prefixes)
        ):
            beat()
            for key in found:
                yield key.decode(errors="replace")

    async def forget(self, kind: RecordKind, bucket: int, strays: Sequence[str]) -> None:
        """Removes from an index what is no name."""
        await self._client.pipeline([("ZREM", kind.index(bucket), *strays)])


def _digest(kind: RecordKind, part: Part, most: int, said: Literal["digest", "lines"]) -> Command:
    names = (kind.index(part.bucket), keys.mark(part.bucket))
    args = (part.after, part.upto, most, kind.documents, kind.totals, said)
    return ("FCALL_RO", functions.DIGEST, len(names), *names, *args)


def _read_stored(kind: RecordKind, bucket: int, names: Iterable[str]) -> Command:
    touched = [keys.mark(bucket), *(key for name in names for key in _keys(kind, name))]
    return ("FCALL_RO", functions.STANDING, len(touched), *touched, "totals" if kind.totals else "")


def _repair(kind: RecordKind, repair: Repair) -> Command:
    name, seen, document, lease, totals = repair
    bucket = kind.bucket(name)
    touched = (kind.index(bucket), keys.mark(bucket), *_keys(kind, name))
    args: list[str | bytes | int] = [seen.loaded or b"", seen.document, b"" if document is None else document]
    args += (seen.lease, b"" if lease is None else lease)
    for resource, new in totals.items():
        old = seen.totals[resource]
        stands = ("", "") if new is None else (new.used, f"{new.epoch}:{new.version}")
        args += (2 * _RESOURCES.index(resource) + 1, old.used, old.stamp, *stands)
    return ("FCALL", functions.REPAIR, len(touched), *touched, *args)


def _keys(kind: RecordKind, name: str) -> tuple[str, ...]:
    return (kind.document(name), keys.usage(name), keys.lease(name)) if kind.totals else (kind.document(name),)


def _stored_record(loaded: bytes | None, told: Sequence[bytes]) -> StoredRecord:
    document, *more = told
    if not more:
        return StoredRecord(loaded, document, ABSENT, {})
    lease, *values = more
    pairs = zip(values[::2], values[1::2], strict=True)
    totals = {resource: Total(*pair) for resource, pair in zip(_RESOURCES, pairs, strict=True)}
    return StoredRecord(loaded, document, lease, totals)
