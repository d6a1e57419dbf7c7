"""Handshake of a connection to Redis: dial, authenticate, read what the server is, ask to be told of changes.

CLIENT TRACKING in BCAST mode makes the server push an invalidation for every changed key under our prefixes, on the
same connection that carries commands.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from core.hotstore.server_facts import SECTIONS, ServerFacts, facts_of, parse
from core.hotstore.slots import Address
from validator.redis.resp import Answer, RedisConnection, pack

READ_FACTS: Final = pack("INFO", *SECTIONS)


class HandshakeRefused(Exception):
    """The server does not let us in, or not yet: wrong password, LOADING, an old version."""


async def dial(
    url: SplitResult,
    address: Address,
    on_push: Callable[[Sequence[Any]], None],
    on_lost: Callable[[RedisConnection], None],
) -> RedisConnection:
    """A connection that is open and not yet introduced. `address` counts, unless the URL names a unix socket."""
    loop = asyncio.get_running_loop()

    def made() -> RedisConnection:
        connection: RedisConnection

        def lost() -> None:
            on_lost(connection)

        connection = RedisConnection(on_push, lost)
        return connection

    if url.scheme == "unix":
        _, connection = await loop.create_unix_connection(made, url.path)
        return connection
    secure = ssl.create_default_context() if url.scheme == "rediss" else None
    _, connection = await loop.create_connection(made, address.host, address.port, ssl=secure)
    return connection


async def introduce(
    connection: RedisConnection, url: SplitResult, prefixes: Sequence[str], *, in_cluster: bool
) -> ServerFacts:
    """Returns what the server says of itself, once it has promised to push changes under the prefixes.

    `in_cluster`: it is meant to be a node of a Cluster. A node that is met unexpectedly is not asked for pushes.
    """
    for command in _greeting(url):
        _accept(await connection.probe(command))
    facts = facts_in(_accept(await connection.probe(READ_FACTS)))
    if not facts.reign:
        raise HandshakeRefused("it does not tell its run id")
    if in_cluster and not facts.clustered:
        raise HandshakeRefused("it is no longer a node of a Cluster")
    if facts.clustered == in_cluster:
        tracking: list[str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
        for prefix in prefixes:
            tracking += ("PREFIX", prefix)
        _accept(await connection.probe(pack(*tracking)))
    return facts


def facts_in(info: bytes | str) -> ServerFacts:
    """From the answer to READ_FACTS. RESP3 tells INFO as a verbatim string, which hiredis may give as text."""
    return facts_of(parse(info if isinstance(info, bytes) else info.encode()))


def _greeting(url: SplitResult) -> list[bytes]:
    hello: tuple[str, ...] = ("HELLO", "3")
    if url.password is not None:
        hello += ("AUTH", unquote(url.username or "default"), unquote(url.password))
    commands: list[tuple[str, ...]] = [(*hello, "SETNAME", "np-validator")]
    database = "" if url.scheme == "unix" else url.path.strip("/")
    if database not in {"", "0"}:
        commands.append(("SELECT", database))
    return [pack(*command) for command in commands]


def _accept(answer: Answer) -> Any:
    if isinstance(answer, Exception):
        raise HandshakeRefused(str(answer)) from answer
    return answer
