"""The tie to Redis: connects, asks to be told of changes, proves that it still is, connects again.

CLIENT TRACKING in BCAST mode makes the server push an invalidation for every changed key under our prefixes, on the
same connection that carries commands. How far that may be relied on, validator/fence.py tells.
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

from core.hotstore import keys
from core.hotstore.functions import FunctionsMissing, NotReady, is_missing
from core.hotstore.slots import Address
from validator.fence import Fence
from validator.resp import TICK, Answer, NoReply, RedisConnection, pack
from validator.waiting import Reply, drive

_HOPELESS_TICKS: Final = 100
_CONNECT_SECONDS: Final = 1.0
_TENDED_SECONDS: Final = 30.0
_RETRY_FIRST: Final = 0.05
_RETRY_MOST: Final = 1.0

_RUN_ID: Final = b"run_id:"
_CLUSTERED: Final = b"cluster_enabled:1"

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
        self.run_id: bytes | None = None
        self._url = urlsplit(url)
        self.address = Address(self._url.hostname or "127.0.0.1", self._url.port or 6379)
        self._prefixes = tuple(prefixes)
        self._on_push = on_push
        self._on_introduced = on_introduced
        self._connection: RedisConnection | None = None
        self._retry = _RETRY_FIRST
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._attempt: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._ticked_at = float("-inf")

    def start(self) -> None:
        self._connect()
        self._tick()

    def close(self) -> None:
        self._closed = True
        if self._attempt is not None:
            self._attempt.cancel()  # no command is in flight on a connection that is still being made
        if self._connection is not None:
            self._connection.close()

    @property
    def tended(self) -> bool:
        """It is connected and looked at, or connecting, or about to: somebody will go on with it."""
        if self._closed:
            return True
        if self._connection is not None:
            return monotonic() - self._ticked_at < _TENDED_SECONDS
        connecting = self._attempt is not None and not self._attempt.done()
        waiting = self._again is not None and not self._again.cancelled() and self._again.when() >= self._loop.time()
        return connecting or waiting

    @property
    def up(self) -> bool:
        return self.run_id is not None and self._connection is not None and not self._connection.silent

    @property
    def silent(self) -> bool:
        return self._connection is not None and self._connection.silent

    def of_this_run(self, loaded: bytes | None) -> bool:
        """Whether an incarnation was completed on the server that we are connected to, since its last start."""
        return loaded is not None and self.run_id is not None and loaded.startswith(self.run_id[: keys.RUN_ID_LENGTH])

    def call(self, command: bytes) -> Reply[Answer]:
        if self._connection is None or self.run_id is None:
            unanswered: Reply[Answer] = Reply()
            unanswered.resolve(NoReply())
            return unanswered
        return self._connection.call(command)

    async def ask(self, *words: str | bytes | int) -> Any:
        """One command and its answer; NotReady where there is none that could be used."""
        return checked(await self.call(pack(*words)))

    def _tick(self) -> None:
        if self._closed:
            return
        self._loop.call_later(TICK, self._tick)
        self._ticked_at = monotonic()
        connection = self._connection
        if connection is None or not connection.alive:
            return
        if connection.tick() > _HOPELESS_TICKS:
            log.warning("redis.silent", seconds=_HOPELESS_TICKS * TICK)
            connection.close()
            return
        self.fence.tick()

    def _connect(self) -> None:
        self._attempt = self._loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await self._dial()
        except Exception as fault:  # noqa: BLE001  whatever it was (a name that is none, a certificate), it is tried again
            log.warning("redis.unreachable", error=str(fault) or type(fault).__name__)
            self._connect_later()
            return
        self._connection = connection
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

    async def _introduce(self, connection: RedisConnection) -> tuple[bytes, bool]:
        """Returns the server's run id and whether it is a Cluster's node, once it has promised to push changes."""
        for command in _introduction(self._url):
            _accept(await connection.probe(command))
        info = bytes(_accept(await connection.probe(pack("INFO", "server", "cluster")))).split(b"\r\n")
        clustered = _CLUSTERED in info
        if self.in_cluster and not clustered:
            raise Refused("it is no longer a node of a Cluster")
        if clustered == self.in_cluster:
            tracking: list[str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
            for prefix in self._prefixes:
                tracking += ("PREFIX", prefix)
            _accept(await connection.probe(pack(*tracking)))
        run_id = next(line.removeprefix(_RUN_ID) for line in info if line.startswith(_RUN_ID))
        return run_id, clustered

    def _introduced(self, connection: RedisConnection, met: tuple[bytes, bool]) -> None:
        self.run_id, clustered = met
        self._retry = _RETRY_FIRST
        log.info("redis.connected", run_id=self.run_id[:8].decode())
        if self._on_introduced is not None:
            self._on_introduced(self, clustered=clustered)
        self.fence.begin(connection)

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
        if connection is not self._connection:
            return
        if self.run_id is not None:
            log.warning("redis.lost")
        self.run_id = None
        self._connection = None
        self._connect_later()  # before anything that may fail: nobody else would
        self._on_push(None)
        self.fence.end()

    def _connect_later(self) -> None:
        if self._closed:
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


def _accept(answer: Answer) -> Any:
    if isinstance(answer, Exception):
        raise Refused(str(answer)) from answer
    return answer
