"""How long the body of a request may take to arrive, and what is told of one that breaks off.

Granian bounds the time for a request's head (billing_api/__main__.py); the body nobody bounds but us. One bound goes
around `receive`, before the fast path and the framework part, so that it holds for every route.

Late bodies are looked for once a second, all together: a timer for each request would cost a hundredth of a usage
report. The time counts from the first wait for the body, however many waits follow.

A body that breaks off, and one whose chunks are none, ends in `http.disconnect` or in an error of the server's. That is
the sender's doing: 400, if anybody still reads it, and no crash of ours.
"""

import asyncio
from typing import Final

from litestar.types import HTTPReceiveMessage, Receive

from core.errors import Refusal, RequestTimeout

ARRIVES_WITHIN: Final = 10.0
"""Seconds."""
_LOOK_EVERY: Final = 1.0


class BrokenBody(Refusal):
    code = "bad_request"

    def __init__(self) -> None:
        super().__init__("the request's body broke off, or its chunks cannot be read")


class Arrivals:
    """Every body of this process that is being waited for."""

    def __init__(self, within: float = ARRIVES_WITHIN, look_every: float = _LOOK_EVERY) -> None:
        self._within = within
        self._look_every = look_every
        self._awaited: dict[_Arrival, float] = {}
        """By when each must have arrived, by the loop's clock."""
        self._looking = False

    def bounded(self, receive: Receive) -> Receive:
        """The same `receive`, which raises RequestTimeout or BrokenBody in place of a body that does not come."""
        return _Arrival(self, receive)

    def begin(self, arrival: "_Arrival") -> None:
        loop = asyncio.get_running_loop()
        if arrival.due is None:
            arrival.due = loop.time() + self._within
        self._awaited[arrival] = arrival.due
        if not self._looking:
            self._looking = True
            loop.call_later(self._look_every, self._look, loop)

    def end(self, arrival: "_Arrival") -> None:
        del self._awaited[arrival]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looking = bool(self._awaited)
        if self._looking:  # before anything that may fail: no body would be bounded any more
            loop.call_later(self._look_every, self._look, loop)
        now = loop.time()
        for arrival, due in tuple(self._awaited.items()):
            if now >= due:
                arrival.give_up()


class _Arrival:
    """One request's `receive`."""

    __slots__ = ("_arrivals", "_given_up", "_receive", "_task", "_whole", "due")

    def __init__(self, arrivals: Arrivals, receive: Receive) -> None:
        self._arrivals = arrivals
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._whole = False
        self._given_up = False
        self.due: float | None = None

    async def __call__(self) -> HTTPReceiveMessage:
        if self._whole:  # what comes now is the news that the client has gone
            return await self._receive()  # type: ignore[return-value]  # websockets are not served
        self._task = asyncio.current_task()
        self._arrivals.begin(self)
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if self._given_up and self._task is not None and self._task.uncancel() == 0:
                raise RequestTimeout from None
            raise
        except Exception as failure:  # whatever the server calls it
            raise BrokenBody from failure
        finally:
            self._arrivals.end(self)
        if message["type"] != "http.request":
            raise BrokenBody
        self._whole = not message.get("more_body")
        return message

    def give_up(self) -> None:
        if self._task is not None and not self._given_up:
            self._given_up = True
            self._task.cancel()
