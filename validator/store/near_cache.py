"""Near cache (in-process cache) of licenses and of the verdicts that were made from them.

An Entry is believed while nothing it was made from has changed. No push has named its keys, and no reservation in it
has run out. Its Era lives (validator/redis/eras.py), and the fence of the Era's link has passed lately.

An entry that is no longer believed is kept for the times when Redis cannot be asked: it is then told as stale. Two
kinds are never told that way: an entry whose document was replaced (it is known to be wrong), and "there is no such
license" (one may have been issued since).

Most of a process's memory goes here, so an entry is small: the license stays packed as Redis told it, what has changed
is noted only where something has, and equal verdicts of many licenses are one object.
"""

from sys import getsizeof
from time import monotonic
from typing import Final, NamedTuple, cast

import msgspec

from core.hotstore.snapshot import decode_snapshot, encode_snapshot
from core.licensing.record import LicenseRecord, Usage
from core.resp.connection import Answer
from validator.redis.eras import Era, Eras
from validator.store.bounded_cache import BoundedCache
from validator.store.sized_cache import SizedCache, ascii_bytes, binary_bytes, block, heap_bytes

MOST_UNKNOWN: Final = 4096
MOST_GIVEN: Final = 16
NEVER: Final = float("inf")
"""The one object that all entries without an end share."""

_FLOAT_BYTES: Final = 32


class CachedVerdict(msgspec.Struct, frozen=True, gc=False):
    """A verdict ready to be given again: its text, and its place in the counters."""

    feature: str
    text: bytes
    place: int
    own_bytes: int = 0
    """What it takes for itself; 0 where many licenses share it."""


class CachedVerdicts(msgspec.Struct, gc=False):
    """The verdicts that were made from one state of a license, one for each feature. All hold until one instant.

    They are searched from the start: a license is asked about few features, and a dictionary for three takes more room
    than the three. At most MOST_GIVEN are kept, for a client may invent any number of features.
    """

    until: float = 0.0
    """Unix time."""
    kept: CachedVerdict | tuple[CachedVerdict, ...] = ()
    """A single one without a tuple around it."""

    def of(self, feature: str, now: float) -> CachedVerdict | None:
        if now >= self.until:
            return None
        kept = self.kept
        if isinstance(kept, CachedVerdict):
            return kept if kept.feature == feature else None
        return next((one for one in kept if one.feature == feature), None)

    def keep(self, verdict: CachedVerdict, until: float) -> None:
        """Verdicts that held until another instant are let go: a date has passed since they were made."""
        others = self._all if until == self.until else ()
        others = tuple(one for one in others if one.feature != verdict.feature)
        if len(others) < MOST_GIVEN:
            self.until = until
            self.kept = (*others, verdict) if others else verdict

    @property
    def _all(self) -> tuple[CachedVerdict, ...]:
        return (self.kept,) if isinstance(self.kept, CachedVerdict) else self.kept

    @property
    def kept_bytes(self) -> int:
        kept = self.kept
        if isinstance(kept, CachedVerdict):
            return kept.own_bytes
        return heap_bytes(kept) + sum(one.own_bytes for one in kept) if kept else 0


class Change(msgspec.Struct, frozen=True, gc=False):
    """What pushes have said of an entry since it was read."""

    replaced: bool = False
    """Whether the document was."""
    at: float = 0.0
    """Monotonic instant of the last push that said that the document or a total has changed."""
    tenure: int = 0
    """In which of the link's tenures that was; 0: never."""


class Entry(CachedVerdicts, gc=False, kw_only=True):
    """A license, or the certainty that there is none."""

    packed: bytes
    """As Redis told it; unpacked for the few calls that need more than a cached verdict."""
    era: Era
    ends_at: float = NEVER
    """Monotonic instant at which a reservation in its usage runs out."""
    change: Change | None = None

    @property
    def current(self) -> bool:
        return self.change is None

    @property
    def replaced(self) -> bool:
        """Whether its document was: it is known to be wrong."""
        return self.change is not None and self.change.replaced

    @property
    def facts(self) -> tuple[LicenseRecord | None, Usage]:
        record, usage, _ = decode_snapshot(self.packed)
        return record, usage


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

    mark: Answer
    packed: Answer
    run_id: bytes | None
    known: KnownLicense
    at: float


class NearCache:
    """Licenses by their hash `h`. Those that do not exist are cached apart: guesses must not push licenses out."""

    def __init__(self, eras: Eras, most: int) -> None:
        """`most`: bytes."""
        self._eras = eras
        self._known: SizedCache[str, Entry] = SizedCache(most, _bytes_of)
        self._unknown: BoundedCache[str, Entry] = BoundedCache(MOST_UNKNOWN)

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown.items)

    def get(self, h: str) -> Entry | None:
        return self._known.get(h) or self._unknown.items.get(h)

    def old(self, h: str) -> Entry | None:
        """What may be told as stale, when nothing newer can be had."""
        return self._known.get(h)

    @property
    def held(self) -> SizedCache[str, Entry]:
        return self._known

    @property
    def let_go(self) -> bool:
        """Whether more was told than is remembered."""
        return self._known.let_go

    def keep_as_told(self, h: str, record: LicenseRecord, usage: Usage, known_until: float) -> None:
        """Keeps what was told as stale, so that nothing older is told later. It is never believed."""
        self._unknown.items.pop(h, None)
        past = Era.past(self._eras.by_tag[h[:2]].link, known_until)
        self._known.put(h, Entry(packed=encode_snapshot(record, usage), era=past, ends_at=float("-inf")))

    def put(self, h: str, packed: bytes, ends_at: float, *, known: bool) -> Entry:
        """`known`: whether there is such a license."""
        entry = Entry(packed=packed, era=self._eras.by_tag[h[:2]], ends_at=ends_at)
        if known:
            self._unknown.items.pop(h, None)
            self._known.put(h, entry)
        else:
            self._known.pop(h)
            self._unknown.put(h, entry)
        return entry

    def keep(self, h: str, entry: Entry, verdict: CachedVerdict, until: float) -> None:
        """Keeps a verdict that was made from this entry."""
        if not entry.kept and not verdict.own_bytes:  # the usual case: the first one, which many licenses share
            entry.until, entry.kept = until, verdict
            return
        before = entry.kept_bytes
        entry.keep(verdict, until)
        self._grew(h, entry, entry.kept_bytes - before)

    def changed(self, h: str, *, replaced: bool = False, used: bool = False) -> None:
        """`replaced`: the document has changed; `used`: a total has. Neither: its holds have."""
        entry = self.get(h)
        if entry is None:
            return
        before = entry.change
        if before is None:
            self._grew(h, entry, _CHANGE_BYTES)
        change = before or Change()
        if replaced or used:
            tenure = self._eras.by_tag[h[:2]].link.tenures
            change = Change(replaced=change.replaced or replaced, at=monotonic(), tenure=tenure)
        entry.change = change

    def _grew(self, h: str, entry: Entry, size: int) -> None:
        """An entry that has left the cache meanwhile does not count."""
        if size and self._known.get(h) is entry:
            self._known.grew(size)


_ENTRY_BYTES: Final = block(getsizeof(Entry(packed=b"", era=cast("Era", None)))) + _FLOAT_BYTES
_CHANGE_BYTES: Final = block(getsizeof(Change())) + _FLOAT_BYTES


def _bytes_of(h: str, entry: Entry) -> int:
    size = _ENTRY_BYTES + ascii_bytes(h) + binary_bytes(entry.packed)
    if entry.kept:
        size += entry.kept_bytes
    if entry.ends_at != NEVER:
        size += _FLOAT_BYTES
    return size if entry.change is None else size + _CHANGE_BYTES
