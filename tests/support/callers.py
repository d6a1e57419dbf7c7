"""Clients that call one port without pause and count the answers, for tests that stop a process meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

HOST: Final = "127.0.0.1"
REFUSED: Final = "refused"
LOST: Final = "lost"
"""A request was sent, or a connection made, and no answer came."""
_PAUSE: Final = 0.004
_ANSWER_WITHIN: Final = 30.0


class Callers:
    """`heard` counts statuses, `REFUSED` and `LOST`; `closing` counts answers with `Connection: close`."""

    good: frozenset[int | str] = frozenset({200, REFUSED})

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._done = asyncio.Event()
        self.heard: Counter[int | str] = Counter()
        self.closing = 0

    @property
    def failed(self) -> dict[int | str, int]:
        return {what: number for what, number in self.heard.items() if what not in self.good}

    async def heard_more(self, than: int) -> None:
        """Returns once so many more calls have succeeded."""
        wanted = self.heard[200] + than
        async with asyncio.timeout(_ANSWER_WITHIN):
            while self.heard[200] < wanted:  # noqa: ASYNC110  any of many clients may be the one
                await asyncio.sleep(_PAUSE)

    def stop(self) -> None:
        self._done.set()

    async def call_on(self, request: bytes, *, kept: bool) -> None:
        """Calls until `stop`, on one connection for as long as it lives, or on a new one each time."""
        while not self._done.is_set():
            try:
                reader, writer = await asyncio.open_connection(HOST, self._port)
            except ConnectionRefusedError:
                self.heard[REFUSED] += 1
                await asyncio.sleep(_PAUSE)
                continue
            except OSError:
                self.heard[LOST] += 1
                continue
            await self._talk(reader, writer, request, kept=kept)
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, *, kept: bool
    ) -> None:
        while not (self._done.is_set() or reader.at_eof()):
            try:
                async with asyncio.timeout(_ANSWER_WITHIN):
                    writer.write(request)
                    status, closes = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.heard[LOST] += 1
                return
            self.heard[status] += 1
            self.closing += closes
            if closes or not kept:
                return
            await asyncio.sleep(_PAUSE)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    _, _, rest = head.partition(b"content-length:")
    await reader.readexactly(int(rest.split(b"\r\n")[0]))
    return int(head.split()[1]), b"connection: close" in head


@asynccontextmanager
async def calling(port: int, *requests: bytes, kept: int = 4, new: int = 4) -> AsyncIterator[Callers]:
    """For each request, so many clients that keep their connection and so many that open one for each call."""
    callers = Callers(port, requests)
    async with asyncio.TaskGroup() as group:
        for request in requests:
            for number in range(kept + new):
                group.create_task(callers.call_on(request, kept=number < kept))
        try:
            yield callers
        finally:
            callers.stop()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
