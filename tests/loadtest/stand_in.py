"""A small HTTP server whose answers, delays and faults a test decides, in a thread with a loop of its own."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.callers import HOST
from tests.support.server_thread import serving


class Request(NamedTuple):
    """Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


class Answer(NamedTuple):
    """The bytes to send; `hang_up` ends the connection behind them."""

    raw: bytes
    hang_up: bool = False


Handler = Callable[[Request], Awaitable[Answer]]


def answer(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    body = json.dumps(content, separators=(",", ":")).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Answer(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode() + body)


def verdict(code: str = "VALID") -> Answer:
    return answer({"valid": code == "VALID", "remaining_quota": 5, "code": code, "stale": False})


class StandIn:
    """Serves within a `with` block; `seen` holds every request in the order they came."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._until_left = ExitStack()
        self.seen: list[Request] = []
        self.connections = 0
        self.url = ""

    def __enter__(self) -> Self:
        self.url = f"http://{HOST}:{self._until_left.enter_context(serving(self._serve))}"
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._until_left.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            hung_up = False
            while not hung_up and (request := await _read(reader)):
                self.seen.append(request)
                raw, hung_up = await self._handler(request)
                writer.write(raw)
        except ConnectionError:
            return  # the client has gone
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    """None where the client says no more."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
