"""Servers behind one address: a single server, or the primaries of a Cluster.

The server itself says which of the two it is, at the first use (`cluster_enabled` of INFO). For a Cluster, one client
is kept for each primary, and commands are grouped by the node that serves their key. A node that no longer serves it
says where to go: MOVED is remembered, ASK is followed once. A command that finds no node after a few rounds fails like
one to a server that is away: the caller tries again later.

redis-py's own Cluster client is not used. It asks the server where the keys of an FCALL are, once for each command, and
it has time limits of its own, which workers/process/redis_pool.py does not allow.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from core.hotstore import keys
from core.hotstore.functions import NotReady
from core.hotstore.server_facts import SECTIONS, ServerFacts, facts_of
from core.hotstore.slots import BUCKET_SLOTS, Address, owners_of, redirection, slot_of

_ROUNDS: Final = 4
_ANSWERED_WITHIN: Final = 20.0
"""Seconds for a pipeline; callers that cannot wait so long say so themselves."""
_START: Final = b"0"

Command = tuple[str | bytes | int, ...]
T = TypeVar("T")


class Survey(NamedTuple):
    reigns: Sequence[str]
    """For each bucket the reign of the server that serves it (server_facts.py); empty where none does."""
    servers: Sequence[ServerFacts]


class Servers(Protocol):
    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in the order of the commands, errors among them as exceptions."""

    async def everywhere(self, *command: str) -> list[Any]:
        """The answer of each primary, exceptions among them."""

    def walk(self, step: Callable[[bytes], Command]) -> AsyncIterator[Any]:
        """Scans the keys of each primary: `step` makes a command from a cursor, and its answer begins with the next.

        Yields the rest of each answer. Keys that move meanwhile may be missed, or come twice.
        """

    async def info(self, section: str) -> list[Mapping[str, Any]]:
        """What each primary says of itself."""

    async def survey(self) -> Survey:
        """What the servers say of themselves. One that was demoted and is still asked says that it is no primary."""

    async def close(self) -> None:
        """Closes what was opened here; the client that was passed in belongs to the caller."""


async def find_servers(redis: Redis) -> Servers:
    facts = await redis.info("cluster")
    return ClusterServers(redis) if facts.get("cluster_enabled") else OneServer(redis)


class OneServer:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        return await _send(self._redis, commands)

    async def everywhere(self, *command: str) -> list[Any]:
        return await _send(self._redis, [command])

    def walk(self, step: Callable[[bytes], Command]) -> AsyncIterator[Any]:
        return _walk(self._redis, step)

    async def info(self, section: str) -> list[Mapping[str, Any]]:
        return [await self._redis.info(section)]

    async def survey(self) -> Survey:
        facts = await _facts(self._redis)
        return Survey([facts.reign] * keys.BUCKETS, [facts])

    async def close(self) -> None:
        return


class ClusterServers:
    def __init__(self, seed: Redis) -> None:
        """`seed`: a client of any node; all nodes are connected in the same way."""
        self._seed = seed
        self._clients: dict[Address, Redis] = {}
        self._owners: dict[int, Address] = {}
        """By slot; empty when the Cluster has to be asked again."""

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = [None] * len(commands)
        left: dict[int, Address | None] = dict.fromkeys(range(len(commands)))  # to which node; None: its owner
        for _ in range(_ROUNDS):
            # Group what is left by node, send it, and keep what was redirected for the next round.
            await self._read_map()
            placed: dict[Address, list[_Sending]] = defaultdict(list)
            for number, asked in left.items():
                node = asked or self._owner(slot_of(_key(commands[number])))
                placed[node].append(_Sending(number, commands[number], asking=asked is not None))
            left = {}
            for again in await self._reach(self._send_to(node, some, answers) for node, some in placed.items()):
                left |= again
            if not left:
                break
        return answers

    async def everywhere(self, *command: str) -> list[Any]:
        nodes = await self._nodes()
        found = await self._reach(_send(self._client(node), [command]) for node in nodes)
        return [answer for (answer,) in found]

    async def walk(self, step: Callable[[bytes], Command]) -> AsyncIterator[Any]:
        for node in await self._nodes():
            async for found in _walk(self._client(node), step):
                yield found

    async def info(self, section: str) -> list[Mapping[str, Any]]:
        return await self._reach(self._client(node).info(section) for node in await self._nodes())

    async def survey(self) -> Survey:
        nodes = await self._nodes()
        told = await self._reach(_facts(self._client(node)) for node in nodes)
        reigns = {node: facts.reign for node, facts in zip(nodes, told, strict=True)}
        return Survey([reigns.get(self._owners[s], "") if s in self._owners else "" for s in BUCKET_SLOTS], told)

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _nodes(self) -> list[Address]:
        await self._read_map()
        return list(dict.fromkeys(self._owners.values()))

    async def _read_map(self) -> None:
        """Asks the known nodes, then the given one, until one answers with the map."""
        if self._owners:
            return
        kwargs = self._seed.connection_pool.connection_kwargs
        given = Address(kwargs.get("host", "localhost"), kwargs.get("port", 6379))
        failure: Exception = NotReady("no node of the Cluster tells who serves what")
        for address, client in [*self._clients.items(), (given, self._seed)]:
            try:
                (answer,) = await _send(client, [("CLUSTER", "SLOTS")])
            except (RedisError, OSError) as fault:
                failure = fault
                continue
            if isinstance(answer, list) and answer:
                self._owners = owners_of(answer, address)
                return
        raise failure

    def _client(self, address: Address) -> Redis:
        client = self._clients.get(address)
        if client is None:
            pool = self._seed.connection_pool
            kwargs = pool.connection_kwargs | address._asdict()
            client = Redis.from_pool(type(pool)(connection_class=pool.connection_class, **kwargs))
            self._clients[address] = client
        return client

    def _owner(self, slot: int) -> Address:
        owner = self._owners.get(slot)
        if owner is None:
            self._owners = {}
            raise NotReady(f"no node of the Cluster serves slot {slot}")
        return owner

    async def _reach(self, asking: Iterable[Awaitable[T]]) -> list[T]:
        """Awaits all at once. If a node is away, the map may have changed with it: it is read again."""
        found = await asyncio.gather(*asking, return_exceptions=True)
        for answer in found:
            if isinstance(answer, BaseException):
                self._owners = {}
                raise answer
        return cast("list[T]", found)

    async def _send_to(
        self, node: Address, some: Sequence["_Sending"], answers: list[Any]
    ) -> dict[int, Address | None]:
        """Fills in the answers; returns the commands that have to be sent again, and to which node."""
        found = iter(await _send(self._client(node), [command for each in some for command in each.commands]))
        again: dict[int, Address | None] = {}
        for each in some:
            if each.asking:
                next(found)
            answers[each.number] = answer = next(found)
            elsewhere = redirection(str(answer), node) if isinstance(answer, ResponseError) else None
            if elsewhere is not None:
                again[each.number] = None if elsewhere.moved else elsewhere.address
                if elsewhere.moved:
                    self._owners[elsewhere.slot] = elsewhere.address
        return again


class _Sending(NamedTuple):
    number: int
    command: Command
    asking: bool

    @property
    def commands(self) -> tuple[Command, ...]:
        return (("ASKING",), self.command) if self.asking else (self.command,)


def _key(command: Command) -> str:
    """The key that decides where a command goes; in FCALL it follows the function and the number of keys."""
    key = command[3] if command[0] in {"FCALL", "FCALL_RO"} else command[1]
    return cast("str", key)


async def _facts(redis: Redis) -> ServerFacts:
    return facts_of(await redis.info(*SECTIONS))  # type: ignore[arg-type]  # its stub wants lists


async def _walk(redis: Redis, step: Callable[[bytes], Command]) -> AsyncIterator[Any]:
    cursor = _START
    while True:
        (answer,) = await _send(redis, [step(cursor)])
        if isinstance(answer, Exception):
            raise answer
        cursor, found = answer
        yield found
        if cursor == _START:
            return


async def _send(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    async with asyncio.timeout(_ANSWERED_WITHIN), redis.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        return await cast("Awaitable[list[Any]]", pipe.execute(raise_on_error=False))
