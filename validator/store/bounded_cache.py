"""Bounded cache, first in, first out: a dictionary with room for so many, so that invented keys cannot fill the memory.

The oldest go in batches. A dict finds its first key by walking over the places of all keys that were deleted before it:
one by one, each new key in a full cache of 20,000 would cost a walk over thousands of places.
"""

from itertools import islice
from typing import Final, Generic, TypeVar

_BATCHES: Final = 64

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
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
