"""What stands in the hot store, for whoever compares it with Postgres and mends it (workers/reconciliation/run.py).

Nothing here trusts what the projection says of itself: digests are made by reading every record at the moment they are
asked for, so that a key which somebody deleted or edited by hand is found like one that was never written.

A digest covers the part of a bucket's index between two names, of a length that blocks the server for less than a
millisecond. Digests are asked for one at a time: the server works off a whole pipeline before it looks at another
connection, and validators wait for 50 ms only.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from core.hotstore import functions, keys
from core.hotstore.servers import Command
from core.hotstore.writer import HotStoreWriter
from core.licensing.plan import RESOURCES, Resource
from core.parts import beat

LINES_A_CALL: Final = 150
"""So many lines take a digest 0.7 ms of the server's time."""

_KEYS_A_STEP: Final = 1000
"""So many keys are walked through in about half a millisecond."""

_RESOURCES: Final[Sequence[Resource]] = sorted(RESOURCES)
ABSENT: Final = b"-"


@dataclass(frozen=True)
class Shelf:
    """One kind of record that a bucket has an index of."""

    index: Callable[[int], str]
    document: Callable[[str], str]
    bucket: Callable[[str], int]
    documents: str
    indexes: str
    totals: str
    """Kind of the key with totals beside the document, and there is a lease then; empty where there is neither."""

    def is_at(self, key: str) -> bool:
        """Whether this is the key of a document that could be one of this shelf."""
        kind, name = key[:3], key[9:]
        try:
            return kind == self.documents and self.document(name) == key and self.bucket(name) >= 0
        except ValueError:
            return False

    def holds(self, name: str, bucket: int) -> bool:
        """Whether this could be a name of the bucket's index."""
        try:
            return self.bucket(name) == bucket
        except ValueError:
            return False


LICENSES: Final = Shelf(
    keys.index, keys.document, keys.bucket_of_license, keys.DOCUMENT_KIND, keys.INDEX_KIND, keys.USAGE_KIND
)
API_KEYS: Final = Shelf(
    keys.api_key_index, keys.api_key, keys.bucket_of_api_key, keys.API_KEY_KIND, keys.API_KEY_INDEX_KIND, ""
)


class Part(NamedTuple):
    """Of a bucket's index the names after `after` up to `upto`; empty text is its beginning or its end."""

    bucket: int
    after: str
    upto: str


class Digest(NamedTuple):
    """`loaded`: the incarnation it belongs to; nothing may be concluded where it is None."""

    loaded: bytes | None
    size: int
    sha1: str


class Lines(NamedTuple):
    loaded: bytes | None
    of: dict[str, str]
    """By name: name, stamp, totals and lease, in the spelling of workers/reconciliation/screening.py."""


class Total(NamedTuple):
    """Raw as the function tells values: `-`, `?`, or `=` and what stands there."""

    used: bytes = ABSENT
    stamp: bytes = ABSENT


class Standing(NamedTuple):
    loaded: bytes | None
    document: bytes
    """Raw as the function tells values; so is the lease."""
    lease: bytes
    totals: Mapping[Resource, Total]

    @property
    def packed(self) -> bytes | None:
        """None where there is no document, or something that is none."""
        return self.document[1:] if self.document[:1] == b"=" else None

    @property
    def absent(self) -> bool:
        return self.document == ABSENT


class NewTotal(NamedTuple):
    used: int
    epoch: int
    version: int


class Mending(NamedTuple):
    """What is to stand in place of what was seen. A document or lease of None stays; a total of None goes."""

    name: str
    seen: Standing
    document: bytes | None
    lease: bytes | None
    totals: Mapping[Resource, NewTotal | None]


class HotStoreComparison:
    def __init__(self, writer: HotStoreWriter) -> None:
        self._writer = writer

    async def digests(self, shelf: Shelf, parts: Sequence[tuple[Part, int]]) -> list[Digest]:
        """Of each part so many lines at most: give one more than expected, so that another size tells of more."""
        answers = await self._writer.ask([_digest(shelf, part, most, "digest") for part, most in parts])
        return [Digest(loaded, size, sha1.decode()) for loaded, size, sha1 in answers]

    async def lines(self, shelf: Shelf, part: Part) -> Lines:
        """What the digest is made of, however much there is."""
        found: dict[str, str] = {}
        while True:
            [(loaded, size, lines)] = await self._writer.ask([_digest(shelf, part, LINES_A_CALL, "lines")])
            texts = [line.decode(errors="replace") for line in lines]
            found |= {text.partition(" ")[0]: text for text in texts}
            if loaded is None or size < LINES_A_CALL:
                return Lines(loaded, found)
            part = part._replace(after=texts[-1].partition(" ")[0])

    async def standing(self, shelf: Shelf, names: Iterable[str]) -> dict[str, Standing]:
        found: dict[str, Standing] = {}
        buckets: dict[int, list[str]] = {}
        for name in names:
            buckets.setdefault(shelf.bucket(name), []).append(name)
        for bucket, mine in buckets.items():
            for start in range(0, len(mine), LINES_A_CALL):
                some = mine[start : start + LINES_A_CALL]
                [(loaded, *told)] = await self._writer.ask([_standing(shelf, bucket, some)])
                found |= {name: _standing_of(loaded, one) for name, one in zip(some, told, strict=True)}
        return found

    async def mend(self, shelf: Shelf, mendings: Sequence[Mending]) -> list[bool]:
        """True for each that stands now as it should; False where something else stood there than was seen."""
        answers = await self._writer.ask([_repair(shelf, mending) for mending in mendings])
        return [answer == b"repaired" for answer in answers]

    async def clear(self, shelf: Shelf, names: Iterable[str]) -> None:
        """Removes documents with totals and leases, whatever they are. Only where absence means nothing."""
        await self._writer.ask([("DEL", *_keys(shelf, name)) for name in names])

    async def strays(self) -> AsyncIterator[str]:
        """Keys of documents and API keys that no index names, though they say something. They may be anything."""
        kinds = [kind for shelf in (LICENSES, API_KEYS) for kind in (shelf.documents, shelf.indexes)]
        async for found in self._writer.walk(
            lambda cursor: ("FCALL_RO", functions.STRAYS, 0, cursor, _KEYS_A_STEP, *kinds)
        ):
            beat()
            for key in found:
                yield key.decode(errors="replace")

    async def forget(self, shelf: Shelf, bucket: int, strays: Sequence[str]) -> None:
        """Takes out of an index what is no name."""
        await self._writer.ask([("ZREM", shelf.index(bucket), *strays)])

    async def missing_buckets(self) -> list[int]:
        return await self._writer.missing_buckets()


def _digest(shelf: Shelf, part: Part, most: int, said: Literal["digest", "lines"]) -> Command:
    names = (shelf.index(part.bucket), keys.mark(part.bucket))
    args = (part.after, part.upto, most, shelf.documents, shelf.totals, said)
    return ("FCALL_RO", functions.DIGEST, len(names), *names, *args)


def _standing(shelf: Shelf, bucket: int, names: Iterable[str]) -> Command:
    touched = [keys.mark(bucket), *(key for name in names for key in _keys(shelf, name))]
    return ("FCALL_RO", functions.STANDING, len(touched), *touched, "totals" if shelf.totals else "")


def _repair(shelf: Shelf, mending: Mending) -> Command:
    name, seen, document, lease, totals = mending
    bucket = shelf.bucket(name)
    touched = (shelf.index(bucket), keys.mark(bucket), *_keys(shelf, name))
    args: list[str | bytes | int] = [seen.loaded or b"", seen.document, b"" if document is None else document]
    args += (seen.lease, b"" if lease is None else lease)
    for resource, new in totals.items():
        old = seen.totals[resource]
        stands = ("", "") if new is None else (new.used, f"{new.epoch}:{new.version}")
        args += (2 * _RESOURCES.index(resource) + 1, old.used, old.stamp, *stands)
    return ("FCALL", functions.REPAIR, len(touched), *touched, *args)


def _keys(shelf: Shelf, name: str) -> tuple[str, ...]:
    return (shelf.document(name), keys.usage(name), keys.lease(name)) if shelf.totals else (shelf.document(name),)


def _standing_of(loaded: bytes | None, told: Sequence[bytes]) -> Standing:
    document, *more = told
    if not more:
        return Standing(loaded, document, ABSENT, {})
    lease, *values = more
    pairs = zip(values[::2], values[1::2], strict=True)
    totals = {resource: Total(*pair) for resource, pair in zip(_RESOURCES, pairs, strict=True)}
    return Standing(loaded, document, lease, totals)
