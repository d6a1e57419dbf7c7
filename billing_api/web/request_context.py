"""What is known about each request: an id that its answer and every log line carries, and one line when it ends."""

import re
import secrets
import time
from typing import Any, Final

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from core.telemetry import logger

_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{8,64}")
_QUIET: Final = "/health/"
_COUNTED: Final = "/api/v1/billing/usage"
"""Thousands a second: those that go well are counted (billing_api/licensing/usage/metrics.py) and leave no line
each."""


def enter(scope: Any) -> str:
    """The request's id, which every log line carries from here on. Whoever comes second finds it given already."""
    state: dict[str, Any] = scope.setdefault("state", {})
    request_id: str = state.get("request_id") or _request_id(scope)
    state["request_id"] = request_id
    # Nothing is cleared: the process's name is bound too, and the last request's id gives way to this one.
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def request_context(app: ASGIApp) -> ASGIApp:
    """Takes over a plausible `X-Request-Id` from a proxy in front, or makes one."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        request_id = enter(scope)
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders.from_message(message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await app(scope, receive, send_with_id)
        finally:
            _log(scope, status, time.perf_counter() - began)

    return middleware


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if given and _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)


def _log(scope: Any, status: int, seconds: float) -> None:
    # The path only: a query may hold what does not belong into a log.
    path: str = scope["path"]
    if not path.startswith(_QUIET) and not (path == _COUNTED and status == 200):
        logger().info("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))
