"""Client of the hot store: a connection pool, the servers behind it, and how far their data may be believed.

Each way of using the store has a class and a file of its own, made of a client: Writer, Reader, BulkLoad, Comparison.

An incarnation (one filling of a bucket) is named after the server's reign (server_facts.py). A mark of another reign is
unconfirmed: its server has restarted since, with a file that may be of any age, or it was promoted, and may lag. Such a
bucket counts as missing until a worker has compared it with Postgres; validators go on answering from it for a while,
marked stale. On a Cluster the server that counts is the one that serves the bucket: after a failover, or when a slot
has moved, only its buckets are unconfirmed.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from core.hotstore import functions, keys
from core.hotstore.server_facts import ServerFacts
from core.hotstore.servers import Command, Servers, find_servers

_CALLS_A_PIPELINE: Final = 500


class StoreState(NamedTuple):
    """How far the store may be believed. Each bucket is empty, unconfirmed or confirmed."""

    empty: list[int]
    """Buckets without a mark: never loaded, or lost."""
    unconfirmed: list[int]
    """Loaded in another reign: what they hold may be older than what was there before."""
    reigns: Sequence[str]
    """Of the server of each bucket."""
    servers: Sequence[ServerFacts]

    @property
    def unfit(self) -> str | None:
        """Why one of the servers must not be relied on."""
        return next((facts.unfit for facts in self.servers if facts.unfit is not None), None)

    @property
    def writable(self) -> bool:
        return all(facts.primary for facts in self.servers)


class HotStoreClient:
    def __init__(self, redis: Redis) -> None:
        """`redis` answers bytes (decode_responses off). Of a Cluster it may be any node; the others are found."""
        self._redis = redis
        self._found: Servers | None = None

    async def close(self) -> None:
        """Closes what was opened here; `redis` belongs to the caller."""
        if self._found is not None:
            await self._found.close()

    async def servers(self) -> Servers:
        if self._found is None:
            self._found = await find_servers(self._redis)
        return self._found

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in the order of the commands; raises where one of them is an error."""
        servers = await self.servers()
        answers: list[Any] = []
        for start in range(0, len(commands), _CALLS_A_PIPELINE):
            answers += await servers.pipeline(commands[start : start + _CALLS_A_PIPELINE])
        for answer in answers:
            if isinstance(answer, ResponseError) and functions.is_missing(str(answer)):
                raise functions.FunctionsMissing from answer
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def walk(self, step: Callable[[bytes], Command]) -> AsyncIterator[Any]:
        """Through the keys of every server: see Servers.walk."""
        try:
            async for found in (await self.servers()).walk(step):
                yield found
        except ResponseError as failure:
            if functions.is_missing(str(failure)):
                raise functions.FunctionsMissing from failure
            raise

    async def disconnect_idle(self) -> None:
        """Ends idle connections: their server is no longer the one to write to."""
        await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def state(self) -> StoreState:
        """How far the store may be believed now."""
        marks = await self.pipeline([("HGET", keys.mark(bucket), "loaded") for bucket in range(keys.BUCKETS)])
        loaded = cast("list[bytes | None]", marks)
        reigns, servers = await (await self.servers()).survey()
        confirmed = {bucket for bucket, mark in enumerate(loaded) if is_of_reign(mark, reigns[bucket])}
        unconfirmed = [bucket for bucket, mark in enumerate(loaded) if mark is not None and bucket not in confirmed]
        empty = [bucket for bucket, mark in enumerate(loaded) if mark is None]
        return StoreState(empty, unconfirmed, reigns, servers)

    async def missing_buckets(self) -> list[int]:
        """Buckets that nothing may be concluded from: never loaded, or not confirmed in their server's reign."""
        state = await self.state()
        return sorted(state.empty + state.unconfirmed)

    async def is_ready(self) -> bool:
        return not await self.missing_buckets()


def is_of_reign(incarnation: bytes | None, reign: str) -> bool:
    return incarnation is not None and reign != "" and incarnation.startswith(reign.encode())
