"""Dialing a Redis server: open a connection, authenticate, choose the database."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote

from core.resp.connection import Answer, RedisConnection, pack


class HandshakeRefused(Exception):
    """The server does not let us in, or not yet: wrong password, LOADING, an old version."""


async def dial(
    url: SplitResult,
    address: tuple[str, int],
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
    _, connection = await loop.create_connection(made, *address, ssl=secure)
    return connection


def greeting(url: SplitResult, name: str) -> list[bytes]:
    """The commands that come first, packed. `name`: what CLIENT LIST shows."""
    hello: tuple[str, ...] = ("HELLO", "3")
    if url.password is not None:
        hello += ("AUTH", unquote(url.username or "default"), unquote(url.password))
    commands: list[tuple[str, ...]] = [(*hello, "SETNAME", name)]
    database = "" if url.scheme == "unix" else url.path.strip("/")
    if database not in {"", "0"}:
        commands.append(("SELECT", database))
    return [pack(*command) for command in commands]


def accepted(answer: Answer) -> Any:
    """The answer to a command of the handshake; HandshakeRefused where it is an error."""
    if isinstance(answer, Exception):
        raise HandshakeRefused(str(answer)) from answer
    return answer
