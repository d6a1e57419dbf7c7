"""Near cache (in-process cache) of licenses and of the verdicts that were made from them.

An Entry is believed while nothing it was made from has changed. No push has named its keys, and no reservation in it
has run out. Its Era lives (validator/redis/eras.py), and the fence of the Era's link has passed lately.

An entry that is no longer believed is kept for the times when Redis cannot be asked: it is then told as stale. Two
kinds are never told that way: an entry whose document was replaced (it is known to be wrong), and "there is no such
license" (one may have been issued since).
"""

from time import monotonic
from typing import Final, NamedTuple

import msgspec

from core.licensing.plan import Resource
from core.licensing.record import LicenseRecord, Usage
from core.resp.connection import Answer
from validator.redis.eras import Era, Eras
from validator.store.bounded_cache import BoundedCache

MOST_UNKNOWN: Final = 4096
MOST_GIVEN: Final = 16

_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_unpack: Final = msgspec.msgpack.Decoder(tuple[LicenseRecord | None, dict[Resource, int], dict[Resource, int]]).decode


class CachedVerdict(msgspec.Struct, frozen=True, gc=False):
    """A verdict ready to be given again: its text, its place in the counters, the unix time until which it holds."""

    feature: str
    text: bytes
    place: int
    until: float


class CachedVerdicts:
    """The verdicts that were made from one state of a license, one for each feature.

    They are searched from the start: a license is asked about few features, and a dictionary for three takes more room
    than the three. At most MOST_GIVEN are kept, for a client may invent any number of features.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[CachedVerdict, ...] = ()

    def of(self, feature: str) -> CachedVerdict | None:
        for kept in self._kept:
            if kept.feature == feature:
                return kept
        return None

    def keep(self, kept: CachedVerdict) -> None:
        others = tuple(one for one in self._kept if one.feature != kept.feature)
        if len(others) < MOST_GIVEN:
            self._kept = (*others, kept)


class Entry(CachedVerdicts):
    """A license, or the certainty that there is none.

    Record and totals are kept packed: as objects they take four times the room, and most of a process's memory goes
    here. They are unpacked for the few calls that need more than a cached verdict.
    """

    __slots__ = ("_facts", "changed_at", "changed_in", "current", "ends_at", "era", "replaced")

    def __init__(self, record: LicenseRecord | None, usage: Usage, era: Era, ends_at: float) -> None:
        super().__init__()
        self._facts = _pack((record, usage.used, usage.held))
        self.era = era
        self.ends_at = ends_at
        """Monotonic instant at which a reservation in its usage runs out."""
        self.current = True
        self.replaced = False
        self.changed_at = 0.0
        """Monotonic instant of the last push that said that the document or a total has changed."""
        self.changed_in = 0
        """In which of the link's tenures that was; 0: never."""

    @property
    def facts(self) -> tuple[LicenseRecord | None, Usage]:
        record, used, held = _unpack(self._facts)
        return record, Usage(used, held)


class KnownLicense(NamedTuple):
    """What is known of a license, true up to the monotonic instant `known_until`; `stale` where that may be long ago.

    `record` is None only where it is certain that there is no such license. `given` are the verdicts made of exactly
    this state; None where it will not be met again.
    """

    record: LicenseRecord | None
    usage: Usage
    stale: bool
    known_until: float
    given: CachedVerdicts | None = None


class SeenAnswer(NamedTuple):
    """With the near cache off: an answer of Redis, its server's reign (None: never met again), and its meaning."""

    answer: Answer
    run_id: bytes | None
    known: KnownLicense
    at: float


class NearCache:
    """Licenses by their hash `h`. Those that do not exist are cached apart: guesses must not push licenses out."""

    def __init__(self, eras: Eras, most: int) -> None:
        self._eras = eras
        self._known: BoundedCache[str, Entry] = BoundedCache(most)
        self._unknown: BoundedCache[str, Entry] = BoundedCache(MOST_UNKNOWN)

    def __len__(self) -> int:
        return len(self._known.items) + len(self._unknown.items)

    def get(self, h: str) -> Entry | None:
        return self._known.items.get(h) or self._unknown.items.get(h)

    def old(self, h: str) -> Entry | None:
        """What may be told as stale, when nothing newer can be had."""
        return self._known.items.get(h)

    @property
    def let_go(self) -> bool:
        """Whether more was told than is remembered."""
        return self._known.let_go

    def keep_as_told(self, h: str, record: LicenseRecord, usage: Usage, known_until: float) -> None:
        """Keeps what was told as stale, so that nothing older is told later. It is never believed."""
        self._unknown.items.pop(h, None)
        self._known.put(h, Entry(record, usage, Era.past(self._eras.by_tag[h[:2]].link, known_until), float("-inf")))

    def put(self, h: str, record: LicenseRecord | None, usage: Usage, ends_at: float) -> Entry:
        kept, dropped = (self._known, self._unknown) if record is not None else (self._unknown, self._known)
        dropped.items.pop(h, None)
        entry = Entry(record, usage, self._eras.by_tag[h[:2]], ends_at)
        kept.put(h, entry)
        return entry

    def changed(self, h: str, *, replaced: bool = False, used: bool = False) -> None:
        """`replaced`: the document has changed; `used`: a total has. Neither: its holds have."""
        entry = self.get(h)
        if entry is None:
            return
        entry.current = False
        if replaced or used:
            entry.replaced = entry.replaced or replaced
            entry.changed_at, entry.changed_in = monotonic(), self._eras.by_tag[h[:2]].link.tenures
