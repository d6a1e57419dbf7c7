"""Refusals as RFC 9457 problem details. Each says `conclusive: false`: none of them is a statement about a license.

A verdict, be it ever so negative, is an answer (HTTP 200); what stands here is the want of one.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from core.clock import unix_time
from core.crypto.signature import Fault
from core.errors import Conflict, Forbidden, InvalidSignature, Refusal, TooManyRequests
from validator.limits import Allowance, RateLimit, rate_limit_headers

_encode = msgspec.json.Encoder().encode
_TYPE: Final = "about:blank"


class RouteNotFound(Refusal):
    status, code, title = 404, "route_not_found", "There is no such route here"


class MethodNotAllowed(Refusal):
    status, code, title = 405, "method_not_allowed", "The route does not take this method"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"use {allowed}")
        self.allowed = allowed


class LengthRequired(Refusal):
    status, code, title = 411, "length_required", "Say how long the body is"


class UnsupportedMediaType(Refusal):
    status, code, title = 415, "unsupported_media_type", "The body must be application/json"


class ReservationConflict(Conflict):
    code, title = "reservation_conflict", "This Idempotency-Key has made a reservation of another content"


class SignatureFault(InvalidSignature):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class PermissionMissing(Forbidden):
    code, title = "permission_missing", "The API key may not do this"


class LimitReached(TooManyRequests):
    def __init__(self, allowance: Allowance, limit: RateLimit) -> None:
        super().__init__(f"a license has {limit.rate} requests a second", retry_after=max(1, math.ceil(allowance.wait)))
        self.allowance = allowance
        self.limit = limit


class Malformed(Refusal):
    """The stream of bytes cannot be read on (validator.protocol.Fault)."""

    code, title = "bad_request", "The request cannot be read"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.http_status = status


class Crashed(Refusal):
    status, code, title = 500, "internal_error", "The fault is ours; try again"


def status_of(refusal: Refusal) -> int:
    return refusal.http_status if isinstance(refusal, Malformed) else refusal.status


def body_of(refusal: Refusal, request_id: str) -> bytes:
    status = status_of(refusal)
    problem: dict[str, Any] = {
        "type": _TYPE,
        "title": refusal.title,
        "status": status,
        "detail": refusal.detail,
        "code": refusal.code,
        "request_id": request_id,
        "conclusive": False,
    }
    if isinstance(refusal, SignatureFault):
        problem |= {"check": refusal.fault.name.lower(), "server_time": int(unix_time())}
    if refusal.errors:
        problem["errors"] = refusal.errors
    return _encode(problem)


def headers_of(refusal: Refusal) -> Mapping[str, str]:
    headers: dict[str, str] = {"Content-Type": "application/problem+json"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    elif status_of(refusal) == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if isinstance(refusal, MethodNotAllowed):
        headers["Allow"] = refusal.allowed
    if isinstance(refusal, LimitReached):
        headers |= rate_limit_headers(refusal.limit, refusal.allowance)
    if isinstance(refusal, SignatureFault):
        headers["WWW-Authenticate"] = "NP-Signature"
    return headers
