"""Every request is answered within a time: from the last byte of the request to the first of the answer.

A database that is frozen, or a lock that somebody forgot, would otherwise be waited for by its callers as long as it
lasts. So what handles a request is a task of its own. When its time is over it is cancelled, and its caller is answered
at once, without waiting for that task's end: it gives its connection back, which takes a frozen server some seconds.

Time runs while the request is handled, and not while more of its body is waited for. An answer that has begun is left
alone: a download may take as long as it likes. Usage reports that go well do not pass here (usage/fast_path.py): their
batches have a limit of their own.
"""

import asyncio
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from billing_api.web.problems import refused
from core.deadline import DEADLINE, MAY_HAVE_HAPPENED, Deadline
from core.errors import Unavailable
from core.telemetry import logger

ANSWER_WITHIN: Final = 10.0
PARTNERS_WITHIN: Final = 8.0
"""Seconds for all that a request asks of its partners. The rest is for writing down what came of it."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ending: Final[set[asyncio.Task[None]]] = set()
"""Cancelled, and not at their end yet; a task that nobody holds may be collected before it."""


def answer_deadline(app: ASGIApp) -> ASGIApp:
    """The middleware; behind those that log, count and name a request, for its refusal passes through them."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request = _Request(receive, send)
        outer = DEADLINE.set(request.deadline)
        try:
            handling: asyncio.Task[None] = asyncio.ensure_future(app(scope, request.receive, request.send))
        finally:
            DEADLINE.reset(outer)
        try:
            if await request.in_time(handling):
                await handling
                return
        finally:
            _give_up(handling, request)
        logger().warning("request.late", path=scope["path"], in_doubt=request.deadline.in_doubt)
        # Told here, not raised: what is raised here is answered outside of those who name, count and log the request.
        asked: Request[Any, Any, Any] = Request(scope, receive, send)
        answer = refused(asked, Unavailable(_told(scope["method"], request.deadline), retry_after=1))
        await answer.to_asgi_response(app=None, request=asked)(scope, receive, send)

    return middleware


class _Request:
    """The messages of one request, and since when it waits for its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._whole = False
        self._receiving = False
        self._since = self._loop.time()
        self._answered = False
        self.given_up = False
        self.deadline = Deadline(self._since + PARTNERS_WITHIN)

    async def receive(self) -> Any:
        if self._whole:
            return await self._receive()
        self._receiving = True
        message = await self._receive()
        self._receiving = False
        self._since = self._loop.time()
        self.deadline.partners_until = self._since + PARTNERS_WITHIN
        self._whole = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def send(self, message: Message) -> None:
        if self.given_up:
            return  # its caller has been answered
        self._answered = True
        await self._send(message)

    async def in_time(self, handling: asyncio.Task[None]) -> bool:
        """Waits for its end, or until it is late; True as well where its answer had begun by then."""
        while not handling.done() and not self._answered:
            now = self._loop.time()
            left = (now if self._receiving else self._since) + ANSWER_WITHIN - now
            if left <= 0:
                return False
            await asyncio.wait((handling,), timeout=left)
        return True


def _give_up(handling: asyncio.Task[None], request: _Request) -> None:
    if not handling.done():
        request.given_up = True
        handling.cancel()
        _ending.add(handling)
        handling.add_done_callback(_ended)


def _ended(handling: asyncio.Task[None]) -> None:
    _ending.discard(handling)
    if not handling.cancelled() and (failure := handling.exception()):
        logger().info("request.ended_late", error=type(failure).__name__)


def _told(method: str, deadline: Deadline) -> str:
    if method in _SAFE or not deadline.in_doubt:
        return "it took too long and was given up; try again"
    return f"it took too long: {MAY_HAVE_HAPPENED}"
