"""Cluster nodes: the servers behind one address, and which of them serves each bucket.

A single server serves all 256 buckets. A node of a Cluster says in its handshake that it is one. Then there is a link
to each primary, with its own connection, tracking, fence and breaker; the given address is only used to ask for the map
when no primary is known. The table from bucket to link is Eras (validator/redis/eras.py). What is remembered of a
bucket is believed as far as the fence of its node reaches, so a bucket that moves begins a new era.

Each second the node whose fence passed last is asked for the map: a node that is cut off from its Cluster passes none.
In the meantime a node that no longer serves a slot says so. MOVED changes the table, and the command is sent on; ASK,
during a migration, sends on only this command. Pushes are taken from every node, because during a migration both nodes
have some. A bucket that has moved without a word is found by the map, and by the fence, which reads the marks of all
buckets of its node in turn, and does not pass on MOVED.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import structlog
from hiredis import ReplyError
from typing_extensions import override

from core.hotstore import keys
from core.hotstore.slots import (
    BUCKET_OF_SLOT,
    BUCKET_SLOTS,
    JWKS_SLOT,
    SYNC_SLOT,
    Address,
    Redirection,
    owners_of,
    redirection,
)
from core.resp.connection import Answer, pack
from core.resp.waiting import Reply
from validator.redis.eras import Eras
from validator.redis.fence import SYNC_READ
from validator.redis.link import RedisLink

_LOOK_EACH: Final = 1.0
_HOPS: Final = 2  # to the node it has moved to, and from there if it is being moved
_ASKING: Final = pack("ASKING")
_SLOTS: Final = pack("CLUSTER", "SLOTS")
_ALIVE: Final = (pack("PING"),)

log = structlog.get_logger()


class Node(RedisLink):
    """Link to one node of a Cluster; it follows redirections."""

    in_cluster = True

    def __init__(self, nodes: "Nodes", address: Address, url: str, prefixes: Sequence[str]) -> None:
        super().__init__(url, prefixes, partial(nodes.pushed, self))
        self.fence.reads = _ALIVE
        self.address = address
        self._nodes = nodes

    @override
    def call(self, command: bytes) -> Reply[Answer]:
        end: Reply[Answer] = Reply()
        self.send(command, end, _HOPS)
        return end

    def send(self, command: bytes, end: Reply[Answer], hops: int, *, asking: bool = False) -> None:
        if asking:
            super().call(_ASKING)  # it counts for the next command on this connection, and none comes in between
        answer = super().call(command)
        answer.when_done(partial(self._answered, command, answer, end, hops))

    def _answered(self, command: bytes, answer: Reply[Answer], end: Reply[Answer], hops: int) -> None:
        if hops and isinstance(answer.value, ReplyError):
            elsewhere = redirection(str(answer.value), self.address)
            if elsewhere is not None:
                node = self._nodes.towards(elsewhere)
                node.send(command, end, hops - 1, asking=not elsewhere.moved)
                return
        end.resolve(answer.value)


class Nodes:
    def __init__(self, url: str, prefixes: Sequence[str], on_changed: Callable[[bytes], None]) -> None:
        """`on_changed(key)`: this key has changed."""
        self._loop = asyncio.get_running_loop()
        self._url = urlsplit(url)
        self._prefixes = prefixes
        self._on_changed = on_changed
        self._given = RedisLink(url, prefixes, self._pushed_by_given, self._introduced)
        self.eras = Eras(self._given)
        self.sync = self.jwks = self._given
        """The links to the servers of the two keys that have no bucket."""
        self._by_address: dict[Address, Node] = {}
        self._owners: Mapping[int, Address] = {}
        self._look: asyncio.TimerHandle | None = None
        self._asking = False

    def start(self) -> None:
        self._given.start()

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for link in (self._given, *self._by_address.values()):
            link.close()

    @property
    def serving(self) -> set[RedisLink]:
        """The links that serve at least one bucket."""
        return {self.eras.of(bucket).link for bucket in range(keys.BUCKETS)}

    @property
    def all(self) -> list[RedisLink]:
        return [self._given, *self._by_address.values()]

    @property
    def unfit(self) -> str | None:
        """Why one of the servers must not be relied on."""
        if not self._by_address:
            return self._given.unfit
        unfit = [node for node in self._by_address.values() if node.unfit is not None]
        serving = self.serving if unfit else ()  # a node that serves nothing any more does not matter
        return next((node.unfit for node in unfit if node in serving or node is self.sync), None)

    @property
    def up(self) -> bool:
        return all(link.up for link in self.serving)

    @property
    def writable(self) -> bool:
        return all(link.writable for link in self.serving)

    @property
    def proven(self) -> float:
        """Monotonic instant up to which every change of every bucket is known."""
        return min(link.fence.proven for link in self.serving)

    def pushed(self, link: RedisLink, key: bytes | None) -> None:
        if key is None:
            self.eras.end_of(link)
        else:
            self._on_changed(key)

    def towards(self, elsewhere: Redirection) -> Node:
        node = self._node(elsewhere.address)
        if elsewhere.moved:
            self._serves(elsewhere.slot, node)
            self._owners = {}  # so that the next map is taken over
            self._ask()
        return node

    def _pushed_by_given(self, key: bytes | None) -> None:
        self.pushed(self._given, key)

    def _introduced(self, link: RedisLink, *, clustered: bool) -> None:
        if clustered and self._look is None:
            log.info("redis.cluster")
            link.fence.reads = _ALIVE
            self._look_again()

    def _look_again(self) -> None:
        self._look = self._loop.call_later(_LOOK_EACH, self._look_again)
        self._ask()

    def _ask(self) -> None:
        """Asks the link whose fence passed last for the map."""
        candidates = [link for link in (*self._by_address.values(), self._given) if link.up]
        if self._asking or not candidates:
            return
        informant = max(candidates, key=lambda link: link.fence.proven)
        self._asking = True
        answer = informant.call(_SLOTS)
        answer.when_done(partial(self._told, informant, answer))

    def _told(self, informant: RedisLink, answer: Reply[Answer]) -> None:
        self._asking = False
        if not isinstance(answer.value, list):
            return
        owners = owners_of(answer.value, informant.address)
        self._let_go(self._by_address.keys() - set(owners.values()))
        if owners == self._owners:
            return
        self._owners = owners
        for slot, address in owners.items():
            self._serves(slot, self._node(address))
        self._set_fences()
        log.info("redis.slots", nodes=[f"{address.host}:{address.port}" for address in dict.fromkeys(owners.values())])

    def _node(self, address: Address) -> Node:
        node = self._by_address.get(address)
        if node is None:
            host = f"[{address.host}]" if ":" in address.host else address.host
            credentials, at, _ = self._url.netloc.rpartition("@")
            url = self._url._replace(netloc=f"{credentials}{at}{host}:{address.port}").geturl()
            node = self._by_address[address] = Node(self, address, url, self._prefixes)
            node.start()
        return node

    def _serves(self, slot: int, node: Node) -> None:
        bucket = BUCKET_OF_SLOT.get(slot)
        if bucket is not None:
            self.eras.give(bucket, node)
        elif slot == SYNC_SLOT:
            self.sync = node
        elif slot == JWKS_SLOT:
            self.jwks = node

    def _let_go(self, addresses: Iterable[Address]) -> None:
        """Drops nodes that serve nothing and do not answer; one that answers may be about to take over slots."""
        for address in addresses:
            if not self._by_address[address].up:
                self._by_address.pop(address).close()

    def _set_fences(self) -> None:
        for node in self._by_address.values():
            mine = [bucket for bucket, slot in enumerate(BUCKET_SLOTS) if self._owners.get(slot) == node.address]
            marks = [pack("HMGET", keys.mark(bucket), "loaded") for bucket in mine]
            if node is self.sync:
                marks = [read for mark in marks or _ALIVE for read in (SYNC_READ, mark)]
            node.fence.reads = tuple(marks) or _ALIVE
