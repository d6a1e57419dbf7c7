"""Body timeout: a request's body must arrive within 10 seconds, and a broken body is the client's error (400).

Granian limits the time for a request's head (billing_api/__main__.py), but not for its body. The timeout wraps
`receive` before the fast path and the framework split, so that it holds for every route.

One timer looks for late bodies once a second. A timer for each request would cost one percent of a usage report's
time. The time counts from the first wait for the body, however many waits follow.

A body that breaks off, or whose chunks are malformed, ends in `http.disconnect` or in an error of the server. The
sender caused it, so the answer is 400 and not 500.
"""

import asyncio
from typing import Final

from litestar.types import HTTPReceiveMessage, Receive

from core.errors import Refusal, RequestTimeout

ARRIVES_WITHIN: Final = 10.0
"""Seconds."""
_CHECK_EVERY: Final = 1.0


class BrokenBody(Refusal):
    code = "bad_request"

    def __init__(self) -> None:
        super().__init__("the request's body broke off or its chunks are malformed: send the whole body")


class BodyTimeouts:
    """The timeouts of all bodies that this process waits for."""

    def __init__(self, within: float = ARRIVES_WITHIN, check_every: float = _CHECK_EVERY) -> None:
        self._within = within
        self._check_every = check_every
        self._awaited: dict[_TimedReceive, float] = {}
        """When each body is due, by the loop's clock."""
        self._checking = False

    def bounded(self, receive: Receive) -> Receive:
        """The same `receive`, but it raises RequestTimeout or BrokenBody if the body does not arrive."""
        return _TimedReceive(self, receive)

    def begin(self, body: "_TimedReceive") -> None:
        loop = asyncio.get_running_loop()
        if body.due is None:
            body.due = loop.time() + self._within
        self._awaited[body] = body.due
        if not self._checking:
            self._checking = True
            loop.call_later(self._check_every, self._check, loop)

    def end(self, body: "_TimedReceive") -> None:
        del self._awaited[body]

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._checking = bool(self._awaited)
        if self._checking:  # first of all: if anything below fails, the next check still comes
            loop.call_later(self._check_every, self._check, loop)
        now = loop.time()
        for body, due in tuple(self._awaited.items()):
            if now >= due:
                body.give_up()


class _TimedReceive:
    """One request's `receive`, with its time limit."""

    __slots__ = ("_given_up", "_receive", "_task", "_timeouts", "_whole", "due")

    def __init__(self, timeouts: BodyTimeouts, receive: Receive) -> None:
        self._timeouts = timeouts
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._whole = False
        self._given_up = False
        self.due: float | None = None

    async def __call__(self) -> HTTPReceiveMessage:
        if self._whole:  # the next message is the client's disconnect
            return await self._receive()  # type: ignore[return-value]  # websockets are not served
        self._task = asyncio.current_task()
        self._timeouts.begin(self)
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if self._given_up and self._task is not None and self._task.uncancel() == 0:
                raise RequestTimeout from None
            raise
        except Exception as failure:  # the server's own error, of any type
            raise BrokenBody from failure
        finally:
            self._timeouts.end(self)
        if message["type"] != "http.request":
            raise BrokenBody
        self._whole = not message.get("more_body")
        return message

    def give_up(self) -> None:
        if self._task is not None and not self._given_up:
            self._given_up = True
            self._task.cancel()
