"""Request layer: the one middleware around every route. It names, counts, logs and limits the time of each request.

One object for each request does all four, where a middleware for each would cost a call and a wrapped `send` more
(docs/decisions/0046-short-road.md).

The deadline: 10 seconds from the last byte of the request to the first byte of the answer. Without it callers would
wait as long as a frozen database or a forgotten lock lasts. A timer looks when the time is over: it cancels the
handler, and a task of its own answers the caller at once. The answer does not wait for the end of the handler, which
gives its connection back, and that takes some seconds with a frozen server.

Time runs while the request is handled, not while its body is still arriving. An answer that has begun may take as long
as it needs: it may be a download. Usage reports that succeed do not pass here (licensing/usage/fast_path.py); their
batches have a limit of their own.
"""

import asyncio
from time import perf_counter
from typing import Any, Final

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from billing_api.web.problems import problem_response
from billing_api.web.request_context import bind_request_id, log_request
from billing_api.web.request_metrics import route_metrics
from core.deadline import DEADLINE, MAY_HAVE_HAPPENED, Deadline
from core.errors import Unavailable
from core.telemetry import logger

ANSWER_WITHIN: Final = 10.0
PARTNERS_WITHIN: Final = 8.0
"""Seconds for all partners of a request together. The rest is for storing the result."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_refusing: Final[set[asyncio.Task[None]]] = set()
"""Tasks that answer late requests. Without a reference a task may be garbage-collected before its end."""


def request_layer(app: ASGIApp) -> ASGIApp:
    """The middleware."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            await _Exchange(scope, receive, send).run(app)
        else:
            await app(scope, receive, send)

    return middleware


class _Exchange:
    """One request and its answer."""

    __slots__ = (
        "_answered",
        "_began",
        "_deadline",
        "_ended",
        "_given_up",
        "_loop",
        "_metrics",
        "_receive",
        "_receiving",
        "_request_id",
        "_scope",
        "_send",
        "_since",
        "_status",
        "_task",
        "_timer",
        "_whole",
    )

    def __init__(self, scope: Any, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request_id = (b"x-request-id", bind_request_id(scope).encode())
        self._metrics = route_metrics(scope["method"], scope["path_template"])
        self._metrics.in_progress.inc()
        self._began = perf_counter()
        self._ended = 0.0
        self._status = 0
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        """Since when the caller waits for the answer."""
        self._deadline = Deadline(self._since + PARTNERS_WITHIN)
        self._whole = False
        self._receiving = False
        self._answered = False
        self._given_up = False
        self._task: asyncio.Task[Any] | None = None
        self._timer = self._loop.call_later(ANSWER_WITHIN, self._look)

    async def run(self, app: ASGIApp) -> None:
        self._task = asyncio.current_task()
        outer = DEADLINE.set(self._deadline)  # gateways read it
        try:
            await app(self._scope, self._receive_timed, self._send_named)
        except asyncio.CancelledError:
            if not self._given_up or self._task is None or self._task.uncancel():
                raise
        except Exception as failure:
            if not self._given_up:
                raise
            if self._task is not None:
                self._task.uncancel()  # the failure came in the cancellation's place
            logger().info("request.ended_late", error=type(failure).__name__)
        finally:
            DEADLINE.reset(outer)
            self._timer.cancel()
            if not self._given_up:
                self._finish()

    async def _receive_timed(self) -> Any:
        if self._whole:
            return await self._receive()
        self._receiving = True
        message = await self._receive()
        self._receiving = False
        self._since = self._loop.time()
        self._deadline.partners_until = self._since + PARTNERS_WITHIN
        self._whole = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def _send_named(self, message: Message) -> None:
        if not self._given_up:  # else the caller has been answered already
            await self._answer(message)

    async def _answer(self, message: Message) -> None:
        self._answered = True
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message["headers"], self._request_id]
        else:
            self._ended = perf_counter()
        await self._send(message)

    def _look(self) -> None:
        """The timer. The handler is given up if the caller has waited long enough, and waits still."""
        if self._answered:
            return
        now = self._loop.time()
        left = (now if self._receiving else self._since) + ANSWER_WITHIN - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
            return
        self._given_up = True
        refusing = self._loop.create_task(self._refuse())
        _refusing.add(refusing)
        refusing.add_done_callback(_refusing.discard)
        if self._task is not None:
            self._task.cancel()

    async def _refuse(self) -> None:
        scope = self._scope
        logger().warning("request.late", path=scope["path"], in_doubt=self._deadline.in_doubt)
        # Answered here, not raised: there is no handler any more whose exception would be answered.
        late: Request[Any, Any, Any] = Request(scope, self._receive, self._answer)
        answer = problem_response(late, Unavailable(_advice(scope["method"], self._deadline), retry_after=1))
        try:
            await answer.to_asgi_response(app=None, request=late)(scope, self._receive, self._answer)
        finally:
            self._finish()

    def _finish(self) -> None:
        now = perf_counter()
        self._metrics.in_progress.dec()
        # Without a status the client went away before the answer. That is no fault of the server.
        self._metrics.count(self._status or 200, (self._ended or now) - self._began)
        log_request(self._scope, self._status, now - self._began)


def _advice(method: str, deadline: Deadline) -> str:
    if method in _SAFE or not deadline.in_doubt:
        return "the request took too long and was cancelled; try again"
    return f"the request took too long: {MAY_HAVE_HAPPENED}"
