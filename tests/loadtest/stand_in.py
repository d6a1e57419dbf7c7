"""A small HTTP server whose answers, delays and bad manners a test decides, in a thread with a loop of its own."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NamedTuple, Self


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


def answer(content: object, status: int = 200) -> Answer:
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return Answer(head.encode() + body)


def verdict(code: str = "VALID") -> Answer:
    return answer({"valid": code == "VALID", "remaining_quota": 5, "code": code, "stale": False})


class StandIn:
    """Serves within a `with` block; `seen` holds every request in the order they came."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.seen: list[Request] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        # A transport closes its socket in a later turn of the loop, which must not be stopped before.
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
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
