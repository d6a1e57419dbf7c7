"""Cache bounded by bytes, first in, first out: keys, values and the tables that find them.

It is spread over 256 dictionaries. A dictionary is copied when it grows, which takes a tenth of a second for one with a
million keys; one with a 256th of them is copied in less than a millisecond.

The oldest go in batches, out of one dictionary after the other: the first of a 256th, not the first of all. A
dictionary finds its first key by walking over the places of all keys that were deleted before it, so one by one would
be dear.

Each value's size is told by a function of the key and the value. It must give the same when the value leaves as it
gave when it came, plus what `grew` said.
"""

from collections.abc import Callable, Hashable
from itertools import islice
from sys import getsizeof
from typing import Final, Generic, TypeVar

_SHARDS: Final = 256
_MASK: Final = _SHARDS - 1
_SHIFT: Final = (
    20  # a dictionary finds its places by the lowest bits: were they the same in all its keys, all would collide
)
_BATCH_SHARE: Final = 32
_MOST_AT_ONCE: Final = 64

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def block(size: int) -> int:
    """What Python's allocator takes for an object of so many bytes."""
    return (size + 15) & ~15


def heap_bytes(thing: object) -> int:
    """Of the object alone, without what it refers to."""
    return block(getsizeof(thing))


def ascii_bytes(text: str) -> int:
    """The same of a text in ASCII, at a tenth of the cost."""
    return len(text) + 64 & ~15


def binary_bytes(data: bytes) -> int:
    return len(data) + 48 & ~15


class SizedCache(Generic[K, V]):
    __slots__ = ("_hand", "_most", "_shards", "_size_of", "evicted", "taken")

    def __init__(self, most: int, size_of: Callable[[K, V], int]) -> None:
        """`most`: bytes. `size_of`: bytes of a key and its value."""
        self.taken = 0
        """Bytes in use."""
        self.evicted = 0
        """How many had to leave for others."""
        self._most = most
        self._size_of = size_of
        self._shards: list[dict[K, V]] = [{} for _ in range(_SHARDS)]
        self._hand = 0

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    @property
    def let_go(self) -> bool:
        """Whether anything was let go: what is not here may have been here."""
        return self.evicted > 0

    def get(self, key: K) -> V | None:
        return self._shards[hash(key) >> _SHIFT & _MASK].get(key)

    def put(self, key: K, value: V) -> None:
        shard = self._shards[hash(key) >> _SHIFT & _MASK]
        if key in shard:
            self.taken -= self._size_of(key, shard.pop(key))
        table = getsizeof(shard)
        shard[key] = value
        self.taken += self._size_of(key, value) + getsizeof(shard) - table
        if self.taken > self._most:
            self._evict()

    def pop(self, key: K) -> None:
        """Removes it, if it is here."""
        shard = self._shards[hash(key) >> _SHIFT & _MASK]
        if key in shard:
            self.taken -= self._size_of(key, shard.pop(key))

    def grew(self, size: int) -> None:
        """A value that is here takes so many bytes more."""
        self.taken += size
        if self.taken > self._most:
            self._evict()

    def _evict(self) -> None:
        """Usually one batch is enough. Empty tables are given back, so a whole round leaves nothing."""
        for _ in range(_SHARDS):
            shard = self._shards[self._hand]
            self._hand = (self._hand + 1) & _MASK
            oldest = tuple(islice(shard, min(_MOST_AT_ONCE, len(shard) // _BATCH_SHARE + 1)))
            for key in oldest:
                self.taken -= self._size_of(key, shard.pop(key))
            self.evicted += len(oldest)
            if not shard:
                table = getsizeof(shard)
                shard.clear()
                self.taken -= table - getsizeof(shard)
            if self.taken <= self._most:
                return
