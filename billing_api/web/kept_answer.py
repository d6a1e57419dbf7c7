"""Answers that are the same for everybody and change seldom: read, encoded and compressed once for many requests.

A process believes what it has read for KEPT_FOR seconds, and then reads it again for the next request. So a change is
shown that much later at most, by every process, whatever happened to it meanwhile: no message has to arrive for that.
Whatever depends on the present state, such as the price of a purchase, is read by those who need it and not from here.

Requests that come during a read wait for it together. If it fails, all of them are refused, and the next one tries
again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from litestar import Request, Response

from billing_api.web.static_answer import StaticAnswer

KEPT_FOR: Final = 1.0
"""Seconds."""
_READ_WITHIN: Final = 5.0


class KeptAnswer:
    def __init__(
        self,
        read: Callable[[], Awaitable[msgspec.Struct]],
        *,
        cache_control: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._cache_control = cache_control
        self._monotonic = monotonic
        self._plain = b""
        self._kept: StaticAnswer | None = None
        self._until = float("-inf")
        self._reading: asyncio.Task[StaticAnswer] | None = None

    async def answer(self, request: Request[Any, Any, Any]) -> Response[Any]:
        """200, or 304 to a client that has it (web/static_answer.py)."""
        kept, headers = await self.current(), request.headers
        return kept.answer(headers.get("if-none-match", ""), headers.get("accept-encoding", ""))

    async def current(self) -> StaticAnswer:
        if self._kept is None or self._monotonic() >= self._until:
            return await self._fresh()
        return self._kept

    async def _fresh(self) -> StaticAnswer:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_again())
            self._reading.add_done_callback(self._has_read)
        return await asyncio.shield(self._reading)

    async def _read_again(self) -> StaticAnswer:
        began = self._monotonic()
        async with asyncio.timeout(_READ_WITHIN):
            plain = msgspec.json.encode(await self._read())
        if self._kept is None or plain != self._plain:
            self._plain = plain
            self._kept = StaticAnswer.of(plain, media_type="application/json", cache_control=self._cache_control)
        self._until = began + KEPT_FOR  # from before the read: a change during it may not be in it
        return self._kept

    def _has_read(self, reading: asyncio.Task[StaticAnswer]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # retrieved also where nobody waits for it any more
