"""Near cache (in-process cache) of licenses, and how far an entry may be believed.

An Entry is believed while nothing it was made from has changed: no push named its keys, no reservation in it has run
out, its Era lives (validator/redis/eras.py), and the fence of the link that the Era belongs to has passed lately.

An entry that is no longer believed is kept, for the times when Redis cannot be asked. It is then an answer of some age,
and says so. Two kinds are never used that way: one whose document was replaced (what we have is known to be wrong), and
"there is no such license" (one may have been issued since).
"""

from itertools import islice
from time import monotonic
from typing import Final, Generic, TypeVar

import msgspec

from core.licensing.plan import Resource
from core.licensing.record import LicenseRecord, Usage
from validator.redis.eras import Era, Eras

MOST_UNKNOWN: Final = 4096
MOST_GIVEN: Final = 16
_BATCHES: Final = 64

_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_unpack: Final = msgspec.msgpack.Decoder(tuple[LicenseRecord | None, dict[Resource, int], dict[Resource, int]]).decode

K = TypeVar("K")
V = TypeVar("V")


class Shelf(Generic[K, V]):
    """A dictionary that holds so many and lets the oldest go: whoever invents keys cannot fill our memory.

    They go in batches, for a dict finds its first key by walking over the places of all that went before it: one by
    one, a full shelf of 20,000 would take a walk of thousands of places for each key that comes.
    """

    __slots__ = ("_batch", "_most", "items", "let_go")

    def __init__(self, most: int) -> None:
        self.items: dict[K, V] = {}
        self.let_go = False
        """Whether anything was let go: what is not here may have been here."""
        self._most = most
        self._batch = max(1, most // _BATCHES)

    def put(self, key: K, value: V) -> None:
        items = self.items
        items.pop(key, None)
        if len(items) >= self._most:
            self.let_go = True
            for oldest in tuple(islice(items, self._batch)):
                del items[oldest]
        items[key] = value


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A verdict that was given, ready to be given again: its text, where it is counted, unix time until it holds."""

    feature: str
    text: bytes
    place: int
    until: float


class Given:
    """The verdicts that were made of one state of a license, one for each feature.

    Looked through from the start: a license is asked about few features, and a dictionary for three takes more room
    than the three. What comes when there are MOST_GIVEN is not kept, for a client may invent any number of features.
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[Kept, ...] = ()

    def of(self, feature: str) -> Kept | None:
        for kept in self._kept:
            if kept.feature == feature:
                return kept
        return None

    def keep(self, kept: Kept) -> None:
        others = tuple(one for one in self._kept if one.feature != kept.feature)
        if len(others) < MOST_GIVEN:
            self._kept = (*others, kept)


class Entry(Given):
    """A license, or the certainty that there is none.

    What it was made from is kept packed, and unpacked for the few who need more than a verdict that was given before:
    as objects a record and its totals take four times the room, and this is what a process's memory goes to.
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
        """Monotonic instant of the last push that said that the document or a total is another."""
        self.changed_in = 0
        """In which of the link's tenures that was; 0 where it never was."""

    @property
    def facts(self) -> tuple[LicenseRecord | None, Usage]:
        record, used, held = _unpack(self._facts)
        return record, Usage(used, held)


class NearCache:
    """Licenses by their hash `h`. What exists and what does not lie apart: guesses must not push licenses out."""

    def __init__(self, eras: Eras, most: int) -> None:
        self._eras = eras
        self._known: Shelf[str, Entry] = Shelf(most)
        self._unknown: Shelf[str, Entry] = Shelf(MOST_UNKNOWN)

    def __len__(self) -> int:
        return len(self._known.items) + len(self._unknown.items)

    def get(self, h: str) -> Entry | None:
        return self._known.items.get(h) or self._unknown.items.get(h)

    def old(self, h: str) -> Entry | None:
        """What may be answered, with its age, when nothing newer can be had."""
        return self._known.items.get(h)

    @property
    def let_go(self) -> bool:
        """Whether more was told than is remembered."""
        return self._known.let_go

    def keep_as_told(self, h: str, record: LicenseRecord, usage: Usage, known_until: float) -> None:
        """Was told as what may be old, so that nothing older is told later. It is never believed."""
        self._unknown.items.pop(h, None)
        self._known.put(h, Entry(record, usage, Era.past(self._eras.by_tag[h[:2]].link, known_until), float("-inf")))

    def put(self, h: str, record: LicenseRecord | None, usage: Usage, ends_at: float) -> Entry:
        kept, dropped = (self._known, self._unknown) if record is not None else (self._unknown, self._known)
        dropped.items.pop(h, None)
        entry = Entry(record, usage, self._eras.by_tag[h[:2]], ends_at)
        kept.put(h, entry)
        return entry

    def changed(self, h: str, *, replaced: bool = False, used: bool = False) -> None:
        """`replaced`: it is another document; `used`: its totals are others. None of them: its holds."""
        entry = self.get(h)
        if entry is None:
            return
        entry.current = False
        if replaced or used:
            entry.replaced = entry.replaced or replaced
            entry.changed_at, entry.changed_in = monotonic(), self._eras.by_tag[h[:2]].link.tenures
