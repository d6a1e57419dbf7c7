"""Batched lookup (cache-miss coalescing): key ids that are new to this process are read together, once in EACH.

The first id is read at once. Ids that come meanwhile, and within EACH of it, share the next statement. Otherwise each
invented key id would cost a transaction, because an id must be looked up before it can be refused.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar

EACH: Final = 0.05
"""Seconds from the start of one statement to the next."""
_MOST_AT_ONCE: Final = 500

Key = TypeVar("Key")


class BatchedLookup(Generic[Key]):
    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, Key | Exception]]]) -> None:
        """`read` returns the existing keys by key id, with an exception in place of a key that cannot be used."""
        self._read = read
        self._answers: dict[str, asyncio.Future[Key | None]] = {}
        self._next: list[str] = []
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str) -> Key | None:
        """None: there is no such key. Raises the exception of `read`."""
        answer = self._answers.get(key_id)
        if answer is None:
            answer = self._answers[key_id] = asyncio.get_running_loop().create_future()
            self._next.append(key_id)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_all())
        return await asyncio.shield(answer)

    async def _read_all(self) -> None:
        loop = asyncio.get_running_loop()
        found: Mapping[str, Key | Exception]
        while self._next:
            some, self._next = self._next[:_MOST_AT_ONCE], self._next[_MOST_AT_ONCE:]
            due = loop.time() + EACH
            try:
                found = await self._read(some)
            except Exception as failure:  # noqa: BLE001  every caller of this batch gets it
                found = dict.fromkeys(some, failure)
            for key_id in some:
                self._tell(self._answers.pop(key_id), found.get(key_id))
            await asyncio.sleep(due - loop.time())

    @staticmethod
    def _tell(answer: "asyncio.Future[Key | None]", found: Key | Exception | None) -> None:
        if isinstance(found, Exception):
            answer.set_exception(found)
            answer.exception()  # marks it as retrieved: asyncio would warn where no caller waits any more
        else:
            answer.set_result(found)
