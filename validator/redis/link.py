"""Link to one Redis server: keeps a connection, reconnects with backoff, and follows what the server says of itself.

validator/redis/handshake.py makes a connection; validator/redis/fence.py tells how far its pushes may be relied on.

Twice a second the server is asked whether it is a primary, and whether it may evict keys. Once a minute it is asked
whether it is fit in all (core/hotstore/server_facts.py). Not more often, for a server may be full in one second and not
in the next, and each change empties what is remembered.

After a failover the name leads to another server, while this connection stays with one that was demoted. So as soon as
the server is no primary, a new connection is dialed, and replaces the old one after its handshake: no request waits
meanwhile. While the name leads to a replica, the replica is read, nothing of it is believed, and it is dialed again.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import structlog
from hiredis import ReplyError

from core.hotstore.connections import DEMOTED, FULL
from core.hotstore.functions import FunctionsMissing, NotReady, is_missing
from core.hotstore.server_facts import ServerFacts
from core.hotstore.slots import Address
from core.resp.connection import TICK, Answer, NoReply, RedisConnection, pack
from core.resp.dialing import dial
from core.resp.waiting import Reply, drive
from validator.redis.fence import Fence
from validator.redis.handshake import READ_FACTS, facts_in, introduce

_HOPELESS_TICKS: Final = 100
_CONNECT_SECONDS: Final = 1.0
_LATE_SECONDS: Final = 1.0  # of a due timer, which counts as lost afterwards
_TENDED_SECONDS: Final = 30.0
_RETRY_FIRST: Final = 0.05
_RETRY_MOST: Final = 0.6
_ROLE_EACH: Final = 0.5
_FITNESS_EACH: Final = 60.0
_LEAVE_AFTER: Final = 0.1  # by then a connection that was replaced has answered its commands, or given them up

_NO_REIGN: Final = b"-"

log = structlog.get_logger()


class OnIntroduced(Protocol):
    def __call__(self, link: "RedisLink", *, clustered: bool) -> None:
        """`clustered`: the server is a node of a Cluster."""


class RedisLink:
    in_cluster = False
    """Whether it is meant for a node of a Cluster."""

    def __init__(
        self,
        url: str,
        prefixes: Sequence[str],
        on_push: Callable[[bytes | None], None],
        on_introduced: OnIntroduced | None = None,
    ) -> None:
        """`on_push(key)`: this key has changed; None: everything may have."""
        self.fence = Fence()
        self.facts: ServerFacts | None = None
        """What the server says of itself; None while there is no connection."""
        self.run_id: bytes | None = None
        """The server's reign: marks of confirmed buckets begin with it. Of a replica, what no mark begins with."""
        self.unfit: str | None = None
        """Why the server must not be relied on."""
        self.tenures = 0
        """Counts connections, and reigns of their servers. What was pushed in the present tenure was written in it."""
        self._url = urlsplit(url)
        self.address = Address(self._url.hostname or "127.0.0.1", self._url.port or 6379)
        self._prefixes = tuple(prefixes)
        self._on_push = on_push
        self._on_introduced = on_introduced
        self._connection: RedisConnection | None = None
        self._candidate: RedisConnection | None = None
        """A connection whose handshake is under way."""
        self._retry = _RETRY_FIRST
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._attempt: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._ticked_at = float("-inf")
        self._asking = False
        self._next_role = self._next_fitness = 0.0

    def start(self) -> None:
        self._connect()
        self._tick()

    def close(self) -> None:
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        if self._attempt is not None:
            self._attempt.cancel()  # no command is in flight on a connection that is still being made
        for connection in (self._connection, self._candidate):
            if connection is not None:
                connection.close()

    @property
    def tended(self) -> bool:
        """Whether a timer or a task goes on with it: it is connected and looked at, connecting, or about to connect."""
        if self._closed:
            return True
        if self._connection is not None or self._candidate is not None:
            return monotonic() - self._ticked_at < _TENDED_SECONDS
        waiting = self._again is not None and self._again.when() > self._loop.time() - _LATE_SECONDS
        return waiting or (self._attempt is not None and not self._attempt.done())

    @property
    def up(self) -> bool:
        return self.run_id is not None and self._connection is not None and not self._connection.silent

    @property
    def silent(self) -> bool:
        return self._connection is not None and self._connection.silent

    @property
    def writable(self) -> bool:
        """Whether the server is a primary, as far as the last look could say."""
        return self.facts is not None and self.facts.primary

    def of_this_run(self, loaded: bytes | None) -> bool:
        """Whether an incarnation was confirmed in the present reign of the connected server."""
        return loaded is not None and self.run_id is not None and loaded.startswith(self.run_id)

    def call(self, command: bytes) -> Reply[Answer]:
        if self._connection is None or self.run_id is None:
            unanswered: Reply[Answer] = Reply()
            unanswered.resolve(NoReply())
            return unanswered
        return self._connection.call(command)

    def flush(self) -> None:
        """Sends now what would be sent at the end of this turn."""
        if self._connection is not None:
            self._connection.flush()

    async def ask(self, *words: str | bytes | int) -> Any:
        """One command and its answer; NotReady where there is no usable answer."""
        answer = await self.call(pack(*words))
        if isinstance(answer, ReplyError):
            self._look_into(str(answer))
        return checked(answer)

    def _tick(self) -> None:
        if self._closed:
            return
        self._loop.call_later(TICK, self._tick)
        self._ticked_at = monotonic()
        for connection in (self._candidate, self._connection):
            if connection is not None and connection.alive and connection.tick() > _HOPELESS_TICKS:
                log.warning("redis.silent", seconds=_HOPELESS_TICKS * TICK)
                connection.close()
        if self._connection is not None and self._connection.alive:
            self.fence.tick()
            self._look()

    def _look(self) -> None:
        """Asks the server what it is, when that is due."""
        now, connection = monotonic(), self._connection
        if self._asking or now < self._next_role or connection is None or connection.silent:
            return
        self._asking = True
        self._next_role = now + _ROLE_EACH
        whole = now >= self._next_fitness or self.unfit is not None  # a server that is fit again is used at once
        if whole:
            self._next_fitness = now + _FITNESS_EACH
        answer = connection.probe(READ_FACTS)
        answer.when_done(partial(self._told, connection, answer, whole=whole))

    def _told(self, connection: RedisConnection, answer: Reply[Answer], *, whole: bool) -> None:
        self._asking = False
        if connection is not self._connection or not isinstance(answer.value, bytes | str):
            return
        told = facts_in(answer.value)
        if not whole and self.facts is not None and told.evicts == self.facts.evicts:
            told = told._replace(unfit=self.facts.unfit)
        self._learn(told)
        if not told.primary:
            self._leave()

    def _learn(self, facts: ServerFacts) -> None:
        """Takes over what a server says of itself. A change of reign or fitness ends belief in what is remembered."""
        if facts.unfit is not None and facts.unfit != self.unfit:
            log.error("redis.unfit", fault=facts.unfit)
        if not facts.tells and (self.facts is None or self.facts.tells):
            log.warning(
                "redis.tells_no_policy",
                detail="set maxmemory-policy to noeviction; it cannot be checked here",
            )
        if not facts.primary and self.facts is not None and self.facts.primary:
            log.error("redis.demoted", detail="the server is no longer a primary; dialing again")
        before = self.run_id, self.unfit
        self.facts, self.unfit = facts, facts.unfit
        self.run_id = facts.reign.encode() if facts.primary else _NO_REIGN + facts.reign.encode()
        if before != (self.run_id, self.unfit) and before[0] is not None:
            self.tenures += 1
            self._on_push(None)

    def _look_into(self, error: str) -> None:
        """Asks the server again what it is, after an error that says that its role or fitness has changed."""
        if error.startswith(DEMOTED):
            self._next_role = 0.0
            self._leave()
        elif error.startswith(FULL):
            self._next_role = self._next_fitness = 0.0

    def _leave(self) -> None:
        """Dials again, beside the present connection. In a Cluster the map tells which server to ask instead."""
        if self.facts is not None and not self.facts.clustered:
            self._connect_later()

    def _connect(self) -> None:
        self._again = None
        self._attempt = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await dial(self._url, self.address, self._pushed, self._lost)
        except Exception as fault:  # noqa: BLE001  whatever it was (a wrong name, a certificate), dial again later
            log.warning("redis.unreachable", error=str(fault) or type(fault).__name__)
            self._attempt = None
            self._connect_later()
            return
        self._attempt = None
        self._candidate = connection
        done, failed = partial(self._introduced, connection), partial(self._turned_away, connection)
        drive(introduce(connection, self._url, self._prefixes, in_cluster=self.in_cluster), done, failed)

    def _introduced(self, connection: RedisConnection, facts: ServerFacts) -> None:
        """Makes this the connection. The one that it replaces may still bring the answers to its commands."""
        before, self._connection, self._candidate = self._connection, connection, None
        self.tenures += 1
        if before is not None:
            self._on_push(None)
            self._loop.call_later(_LEAVE_AFTER, before.close)
        self._asking = False
        self._next_role, self._next_fitness = monotonic() + _ROLE_EACH, monotonic() + _FITNESS_EACH
        self._learn(facts)
        self._retry = _RETRY_FIRST if facts.primary else _RETRY_MOST
        if facts.primary or before is None:
            log.info("redis.connected", reign=facts.reign[:8], primary=facts.primary)
        if self._on_introduced is not None:
            self._on_introduced(self, clustered=facts.clustered)
        self.fence.begin(connection)
        if not facts.primary:
            self._leave()

    def _turned_away(self, connection: RedisConnection, fault: Exception) -> None:
        log.warning("redis.refused", error=str(fault) or type(fault).__name__)
        if connection.alive:
            connection.close()  # tells _lost in its turn
        else:
            self._lost(connection)

    def _pushed(self, push: Sequence[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            self._on_push(None)
            return
        for key in push[1]:
            self._on_push(key)

    def _lost(self, connection: RedisConnection) -> None:
        if connection is self._candidate:
            self._candidate = None
            self._connect_later()
            return
        if connection is not self._connection:
            return
        log.warning("redis.lost")
        self.run_id = self.facts = None
        self._connection = None
        self._asking = False
        self._connect_later()  # first, before anything that may fail: nothing else would reconnect
        self._on_push(None)
        self.fence.end()

    def _connect_later(self) -> None:
        if self._closed or self._candidate is not None or self._again is not None or self._attempt is not None:
            return
        # Jitter: all validators lose a server at the same moment and must not come back at the same moment.
        delay = self._retry * random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, guards nothing
        self._retry = min(self._retry * 2, _RETRY_MOST)
        self._again = self._loop.call_later(delay, self._connect)


def checked(answer: Answer) -> Any:
    """The answer, if it can be used. Any error of Redis (LOADING, no memory, no function) means NotReady."""
    if isinstance(answer, NoReply):
        raise NotReady("Redis does not answer")
    if isinstance(answer, ReplyError):
        text = str(answer)
        raise FunctionsMissing if is_missing(text) else NotReady(f"Redis refuses: {text[:100]}")
    return answer
