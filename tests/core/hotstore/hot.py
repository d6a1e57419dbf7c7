"""The real functions on a real server, called as in production, at an instant that the test chooses.

The functions ask the server for its time in one place. Here they are loaded with only that line replaced by a key. So
production has no argument that could carry a wrong time, tests do not sleep, and every millisecond can be tested. The
expiry of keys (PEXPIREAT) is done here by the same clock; it is far ahead of the server's, so that no key expires by
itself.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from core.clock import unix_time
from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.hotstore.snapshot import Reading, reserve_keys
from core.hotstore.writer import Hold, Pinned, UsageTotal, Writer
from core.licensing.plan import Resource
from tests.core.hotstore.books import Ask, Limits, Total
from tests.core.hotstore.conftest import a_license

T = TypeVar("T")

HASH: Final = a_license()[0]
H: Final = keys.short_hash(HASH)
BUCKET: Final = keys.bucket_of_license(H)

_CLOCK: Final = "clock-of-the-tests"
_ITS_TIME: Final = """  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
"""
_OUR_TIME: Final = f"  return tonumber(redis.call('GET', '{_CLOCK}'))\n"
_YEAR: Final = 366 * 86_400_000


class Hot:
    """One license in a store that is empty. Every call ends before it returns."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._redis = Redis.from_url(url)
        self.writer = Writer(HotStoreClient(self._redis))
        self._reader = Reader(HotStoreClient(self._redis))
        assert functions.SOURCE.count("'TIME'") == functions.SOURCE.count(_ITS_TIME) == 1
        self.run(self._redis.function_load(functions.SOURCE.replace(_ITS_TIME, _OUR_TIME)))
        self.run_id = self.run(self.writer.holds_made()).run_id[: keys.RUN_ID_LENGTH]
        self.now = 0

    def close(self) -> None:
        self.run(self.writer.client.close())
        self.run(self._redis.aclose())
        self._runner.close()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)

    def begin(self) -> None:
        """An empty store, a year after the server's time."""
        self.now = int(unix_time() * 1000) + _YEAR
        self.lose()

    def lose(self) -> None:
        self.run(self._redis.flushall())
        self._set_clock()

    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds
        self._set_clock()
        for key in (keys.holds(H), keys.hold_ends(H)):
            if 0 < self.run(self._redis.pexpiretime(key)) <= self.now:
                self.run(self._redis.delete(key))

    def read(self) -> Reading:
        return self.run(self._reader.read(HASH))

    def pins(self) -> set[str]:
        named = self.run(self._redis.zrange(keys.pins(BUCKET), 0, -1))
        return {name.decode().removeprefix(f"{H}:") for name in named}

    def ended(self) -> dict[str, int]:
        return {
            name.decode(): int(at)
            for name, at in self.run(self._redis.zrange(keys.ended(BUCKET), 0, -1, withscores=True))
        }

    def reserve(self, ask: Ask, run_id: str | None = None) -> list[Any]:
        names = reserve_keys(H)
        facts = (ask.resource, ask.number, ask.ttl, ask.hold, *ask.stamp, run_id or self.run_id, ask.synced_through)
        (answer,) = self.run(self.writer._call_all([(functions.RESERVE, len(names), *names, *facts)]))
        return [part.decode() if isinstance(part, bytes) else part for part in answer]

    def pin(self, name: str, resource: Resource) -> Pinned:
        (answer,) = self.run(self.writer.pin([Hold(HASH, name, resource)]))
        return answer

    def release(self, name: str) -> str:
        named = (keys.holds(H), keys.hold_ends(H), keys.ended_of(H))
        answer: bytes = self.run(self.writer._call(functions.RELEASE, 3, *named, name))
        return answer.decode()

    def settle(self, names: Iterable[str]) -> int:
        return self.run(self.writer.settle(H, names))

    def old_pins(self) -> list[str]:
        return [name for _, name in self.run(self.writer.old_pins(100))]

    def apply_license(self, stamp: tuple[int, int], limits: Limits) -> int:
        epoch, version = stamp
        return self.run(self.writer.apply_licenses([a_license(epoch=epoch, version=version, limits=limits)]))

    def apply_usage(self, totals: Iterable[tuple[Resource, Total]]) -> int:
        rows = [UsageTotal(HASH, resource, total.used, *total.stamp, total.settled) for resource, total in totals]
        return self.run(self.writer.apply_usage(rows))

    def begin_rebuild(self, *, holds_lost: bool) -> str:
        return self.run(self.writer.begin_rebuild([BUCKET], holds_lost=holds_lost))[BUCKET]

    def mark_loaded(self, incarnation: str) -> bool:
        return self.run(self.writer.mark_loaded(BUCKET, incarnation))

    def _set_clock(self) -> None:
        self.run(self._redis.set(_CLOCK, self.now))
