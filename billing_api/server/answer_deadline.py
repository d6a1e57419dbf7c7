"""Request deadline: 10 seconds from the last byte of the request to the first byte of the answer.

Without it callers would wait as long as a frozen database or a forgotten lock lasts. So each request is handled in a
task of its own. When its time is over, the task is cancelled and the caller is answered at once. The answer does not
wait for the end of the task: the task gives its connection back, which takes some seconds with a frozen server.

Time runs while the request is handled, not while its body is still arriving. An answer that has begun may take as long
as it needs: it may be a download. Usage reports that succeed do not pass here (licensing/usage/fast_path.py); their
batches have a limit of their own.
"""

import asyncio
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from billing_api.web.problems import problem_response
from core.deadline import DEADLINE, MAY_HAVE_HAPPENED, Deadline
from core.errors import Unavailable
from core.telemetry import logger

ANSWER_WITHIN: Final = 10.0
PARTNERS_WITHIN: Final = 8.0
"""Seconds for all partners of a request together. The rest is for storing the result."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_cancelled: Final[set[asyncio.Task[None]]] = set()
"""Cancelled tasks that have not ended yet. Without a reference a task may be garbage-collected before its end."""


def answer_deadline(app: ASGIApp) -> ASGIApp:
    """The middleware. It comes after those that log, count and name a request, so that they see its refusal too."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        # The task inherits the deadline, so that gateways can read it.
        request = _TimedRequest(receive, send)
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
        # Answered here, not raised: an exception would pass by the middleware that names, counts and logs the request.
        late: Request[Any, Any, Any] = Request(scope, receive, send)
        answer = problem_response(late, Unavailable(_advice(scope["method"], request.deadline), retry_after=1))
        await answer.to_asgi_response(app=None, request=late)(scope, receive, send)

    return middleware


class _TimedRequest:
    """The messages of one request, and since when its caller waits for the answer."""

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
            return  # the caller has been answered already
        self._answered = True
        await self._send(message)

    async def in_time(self, handling: asyncio.Task[None]) -> bool:
        """Waits until `handling` ends or the time is over. True also where the answer has begun by then."""
        while not handling.done() and not self._answered:
            now = self._loop.time()
            left = (now if self._receiving else self._since) + ANSWER_WITHIN - now
            if left <= 0:
                return False
            await asyncio.wait((handling,), timeout=left)
        return True


def _give_up(handling: asyncio.Task[None], request: _TimedRequest) -> None:
    if not handling.done():
        request.given_up = True
        handling.cancel()
        _cancelled.add(handling)
        handling.add_done_callback(_ended)


def _ended(handling: asyncio.Task[None]) -> None:
    _cancelled.discard(handling)
    if not handling.cancelled() and (failure := handling.exception()):
        logger().info("request.ended_late", error=type(failure).__name__)


def _advice(method: str, deadline: Deadline) -> str:
    if method in _SAFE or not deadline.in_doubt:
        return "the request took too long and was cancelled; try again"
    return f"the request took too long: {MAY_HAVE_HAPPENED}"
