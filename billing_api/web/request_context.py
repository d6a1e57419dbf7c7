"""Request ids and the access log: an id in the answer and in every log line, and one line for each request."""

import re
import secrets
from typing import Any, Final

import structlog
from litestar.types import Scope

from core.telemetry import logger

_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._\-]{8,64}")
_QUIET: Final = "/health/"
_COUNTED: Final = "/api/v1/billing/usage"
"""Thousands a second: successful ones are counted (billing_api/licensing/usage/metrics.py) and not logged."""


def bind_request_id(scope: Any) -> str:
    """The request's id, which every log line carries from here on. A second call returns the same id.

    A well-formed `X-Request-Id` of a proxy in front is taken over.
    """
    state: dict[str, Any] = scope.setdefault("state", {})
    request_id: str = state.get("request_id") or _request_id(scope)
    state["request_id"] = request_id
    # The context is not cleared, because the process's name is bound in it too. The new id replaces the last one.
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


def log_request(scope: Any, status: int, seconds: float) -> None:
    """The line of a request that has ended."""
    # The path only: a query may hold secrets, which must not be logged.
    path: str = scope["path"]
    if not path.startswith(_QUIET) and not (path == _COUNTED and status == 200):
        logger().info("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1))


def _request_id(scope: Scope) -> str:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if given and _GIVEN_ID.fullmatch(given) else secrets.token_hex(16)
