"""The tie to Redis: connects, asks to be told of changes, proves that it still is, connects again.

CLIENT TRACKING in BCAST mode makes the server push an invalidation for every changed key under our prefixes, on the
same connection that carries commands. How far that may be relied on, validator/redis/fence.py tells.

Twice a second the server is asked whether it is a primary and whether it evicts keys, and each minute whether it is
fit in all (core/hotstore/server_facts.py): full and not full may take turns each second, and each turn would cost
what is remembered. After a failover the name leads elsewhere, while this connection stays with a server that was
demoted. So whenever it turns out to be no primary, a new connection is dialed, and takes the place of the old one once
it has been introduced: nobody waits meanwhile. As long as that leads to a replica, it is read, believed in nothing, and
dialed again and again.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import structlog
from hiredis import ReplyError

from core.hotstore.connections import DEMOTED, FULL
from core.hotstore.functions import FunctionsMissing, NotReady, is_missing
from core.hotstore.server_facts import SECTIONS, ServerFacts, facts_of, parse
from core.hotstore.slots import Address
from validator.redis.fence import Fence
from validator.redis.resp import (
    TICK,
    Answer,
    NoReply,
    RedisConnection,
    pack,
)
from validator.redis.waiting import Reply, drive

_HOPELESS_TICKS: Final = 100
_CONNECT_SECONDS: Final = 1.0
_TENDED_SECONDS: Final = 30.0
_RETRY_FIRST: Final = 0.05
_RETRY_MOST: Final = 0.6
_ROLE_EACH: Final = 0.5
_FITNESS_EACH: Final = 60.0
_LEAVE_AFTER: Final = 0.1  # what was asked on a connection that was replaced is answered by then, or given up

_FACTS: Final = pack("INFO", *SECTIONS)
_NO_REIGN: Final = b"-"

log = structlog.get_logger()


class Refused(Exception):
    """The server does not let us in, or not yet: wrong password, LOADING, an old version."""


class OnIntroduced(Protocol):
    def __call__(self, link: "RedisLink", *, clustered: bool) -> None:
        """`clustered`: the server is a node of a Cluster."""


class RedisLink:
    in_cluster = False
    """Whether it is meant for a node of a Cluster. One that is met unexpectedly is not asked for pushes."""

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
        """What the server says of itself; None while there is none."""
        self.run_id: bytes | None = None
        """Its reign, which the marks of confirmed buckets begin with; of a replica something that none begins with."""
        self.unfit: str | None = None
        """Why the server must not be relied on."""
        self.tenures = 0
        """How many connections, and reigns of their servers, there have been. What was pushed in the present one was
        written in it."""
        self._url = urlsplit(url)
        self.address = Address(self._url.hostname or "127.0.0.1", self._url.port or 6379)
        self._prefixes = tuple(prefixes)
        self._on_push = on_push
        self._on_introduced = on_introduced
        self._connection: RedisConnection | None = None
        self._candidate: RedisConnection | None = None
        """One that is being introduced."""
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
        """It is connected and looked at, or connecting, or about to: somebody will go on with it."""
        if self._closed:
            return True
        if self._connection is not None or self._candidate is not None:
            return monotonic() - self._ticked_at < _TENDED_SECONDS
        waiting = self._again is not None and self._again.when() >= self._loop.time()
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
        """Whether an incarnation was confirmed in the present reign of the server that we are connected to."""
        return loaded is not None and self.run_id is not None and loaded.startswith(self.run_id)

    def call(self, command: bytes) -> Reply[Answer]:
        if self._connection is None or self.run_id is None:
            unanswered: Reply[Answer] = Reply()
            unanswered.resolve(NoReply())
            return unanswered
        return self._connection.call(command)

    async def ask(self, *words: str | bytes | int) -> Any:
        """One command and its answer; NotReady where there is none that could be used."""
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
        """Asks the server what it is, where that is due."""
        now, connection = monotonic(), self._connection
        if self._asking or now < self._next_role or connection is None or connection.silent:
            return
        self._asking = True
        self._next_role = now + _ROLE_EACH
        whole = now >= self._next_fitness or self.unfit is not None  # one that is mended is used at once
        if whole:
            self._next_fitness = now + _FITNESS_EACH
        answer = connection.probe(_FACTS)
        answer.when_done(partial(self._told, connection, answer, whole=whole))

    def _told(self, connection: RedisConnection, answer: Reply[Answer], *, whole: bool) -> None:
        self._asking = False
        if connection is not self._connection or not isinstance(answer.value, bytes | str):
            return
        told = facts_of(parse(_bytes(answer.value)))
        if not whole and self.facts is not None and told.evicts == self.facts.evicts:
            told = told._replace(unfit=self.facts.unfit)
        self._learn(told)
        if not told.primary:
            self._leave()

    def _learn(self, facts: ServerFacts) -> None:
        """Takes over what a server says of itself. Whoever answers otherwise than before is not believed as before."""
        if facts.unfit is not None and facts.unfit != self.unfit:
            log.error("redis.unfit", fault=facts.unfit)
        if not facts.tells and (self.facts is None or self.facts.tells):
            log.warning("redis.tells_no_policy", detail="it must be noeviction; nobody can check that here")
        if not facts.primary and self.facts is not None and self.facts.primary:
            log.error("redis.demoted", detail="it is no primary any more; dialing again")
        before = self.run_id, self.unfit
        self.facts, self.unfit = facts, facts.unfit
        self.run_id = facts.reign.encode() if facts.primary else _NO_REIGN + facts.reign.encode()
        if before != (self.run_id, self.unfit) and before[0] is not None:
            self.tenures += 1
            self._on_push(None)

    def _look_into(self, error: str) -> None:
        """An error that may say that the server is not what it was taken for."""
        if error.startswith(DEMOTED):
            self._next_role = 0.0
            self._leave()
        elif error.startswith(FULL):
            self._next_role = self._next_fitness = 0.0

    def _leave(self) -> None:
        """Dials again, beside the connection that there is. Of a Cluster its map tells who is to be asked."""
        if self.facts is not None and not self.facts.clustered:
            self._connect_later()

    def _connect(self) -> None:
        self._again = None
        self._attempt = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await self._dial()
        except Exception as fault:  # noqa: BLE001  whatever it was (a name that is none, a certificate), it is tried again
            log.warning("redis.unreachable", error=str(fault) or type(fault).__name__)
            self._attempt = None
            self._connect_later()
            return
        self._attempt = None
        self._candidate = connection
        done, failed = partial(self._introduced, connection), partial(self._turned_away, connection)
        drive(self._introduce(connection), done, failed)

    async def _dial(self) -> RedisConnection:
        def made() -> RedisConnection:
            connection: RedisConnection

            def lost() -> None:
                self._lost(connection)

            connection = RedisConnection(self._pushed, lost)
            return connection

        if self._url.scheme == "unix":
            _, connection = await self._loop.create_unix_connection(made, self._url.path)
            return connection
        secure = ssl.create_default_context() if self._url.scheme == "rediss" else None
        _, connection = await self._loop.create_connection(made, self.address.host, self.address.port, ssl=secure)
        return connection

    async def _introduce(self, connection: RedisConnection) -> ServerFacts:
        """Returns what the server says of itself, once it has promised to push changes."""
        for command in _introduction(self._url):
            _accept(await connection.probe(command))
        facts = facts_of(parse(_bytes(_accept(await connection.probe(_FACTS)))))
        if not facts.reign:
            raise Refused("it does not tell its run id")
        if self.in_cluster and not facts.clustered:
            raise Refused("it is no longer a node of a Cluster")
        if facts.clustered == self.in_cluster:
            tracking: list[str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
            for prefix in self._prefixes:
                tracking += ("PREFIX", prefix)
            _accept(await connection.probe(pack(*tracking)))
        return facts

    def _introduced(self, connection: RedisConnection, facts: ServerFacts) -> None:
        """From here on this is the connection; one that it replaces may still bring what was asked of it."""
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
        self._connect_later()  # before anything that may fail: nobody else would
        self._on_push(None)
        self.fence.end()

    def _connect_later(self) -> None:
        if self._closed or self._candidate is not None or self._again is not None or self._attempt is not None:
            return
        # Jitter: all validators lose a server at one moment and must not come back at one.
        delay = self._retry * random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, guards nothing
        self._retry = min(self._retry * 2, _RETRY_MOST)
        self._again = self._loop.call_later(delay, self._connect)


def _introduction(url: SplitResult) -> list[bytes]:
    hello: tuple[str, ...] = ("HELLO", "3")
    if url.password is not None:
        hello += ("AUTH", unquote(url.username or "default"), unquote(url.password))
    commands: list[tuple[str, ...]] = [(*hello, "SETNAME", "np-validator")]
    database = "" if url.scheme == "unix" else url.path.strip("/")
    if database not in {"", "0"}:
        commands.append(("SELECT", database))
    return [pack(*command) for command in commands]


def checked(answer: Answer) -> Any:
    """An answer that may be used. Whatever Redis refuses with (LOADING, no memory, no function) means "cannot tell"."""
    if isinstance(answer, NoReply):
        raise NotReady("Redis does not answer")
    if isinstance(answer, ReplyError):
        text = str(answer)
        raise FunctionsMissing if is_missing(text) else NotReady(f"Redis refuses: {text[:100]}")
    return answer


def _bytes(text: bytes | str) -> bytes:
    """RESP3 tells INFO as a verbatim string, which hiredis may give as text."""
    return text if isinstance(text, bytes) else text.encode()


def _accept(answer: Answer) -> Any:
    if isinstance(answer, Exception):
        raise Refused(str(answer)) from answer
    return answer
