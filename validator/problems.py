"""Refusals as RFC 9457 problem details. All but one say `conclusive: false`: they are no statement about a license.

A verdict, be it ever so negative, is an answer (HTTP 200); what stands here is the want of one. The one is
`reservation_ended`: it is certain that nothing is held under this identity.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from core.crypto.signature import Fault
from core.errors import Conflict, Forbidden, InvalidSignature, Refusal, TooManyRequests
from core.rate_limit import Allowance, RateLimit
from validator.limits import rate_limit_headers


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


class ReservationEnded(Conflict):
    code, title = "reservation_ended", "The reservation of this Idempotency-Key or nonce has ended"


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


class Unreadable(Refusal):
    """The stream of bytes cannot be read on (validator.protocol.Fault); the connection ends with this answer."""

    code, title = "bad_request", "The request cannot be read"


class RequestTimeout(Unreadable):
    status, code, title = 408, "request_timeout", "The request took too long to arrive"


class BodyTooLarge(Unreadable):
    status, code, title = 413, "body_too_large", "The body is too long"


class ExpectationFailed(Unreadable):
    status, code, title = 417, "expectation_failed", "This expectation is not known here"


class HeadTooLarge(Unreadable):
    status, code, title = 431, "head_too_large", "The request's head is too long"


class TransferCodingUnknown(Unreadable):
    status, code, title = 501, "transfer_coding_unknown", "This transfer coding is not known here"


class TooManyConnections(Unreadable):
    status, code, title = 503, "too_many_connections", "There are too many clients; try again"


class VersionNotSupported(Unreadable):
    status, code, title = 505, "version_not_supported", "This version of HTTP is not spoken here"


UNREADABLE: Final[Mapping[int, type[Unreadable]]] = {
    kind.status: kind
    for kind in (
        Unreadable,
        RequestTimeout,
        BodyTooLarge,
        ExpectationFailed,
        HeadTooLarge,
        TransferCodingUnknown,
        TooManyConnections,
        VersionNotSupported,
    )
}
"""By the status that the protocol's reader gives."""


class Crashed(Refusal):
    status, code, title = 500, "internal_error", "The fault is ours; try again"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why there is no answer (RFC 9457). `code` is for programs, `detail` for people."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    conclusive: bool
    check: str | msgspec.UnsetType = msgspec.UNSET
    """Of a signature: which check failed."""
    server_time: int | msgspec.UnsetType = msgspec.UNSET
    """Of a signature: unix seconds here, to compare a clock with."""


def problem_of(refusal: Refusal, request_id: str, now: float) -> Problem:
    fault = refusal.fault if isinstance(refusal, SignatureFault) else None
    return Problem(
        type="about:blank",
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        code=refusal.code,
        request_id=request_id,
        conclusive=isinstance(refusal, ReservationEnded),
        check=msgspec.UNSET if fault is None else fault.name.lower(),
        server_time=msgspec.UNSET if fault is None else int(now),
    )


def headers_of(refusal: Refusal) -> Mapping[str, str]:
    headers: dict[str, str] = {"Content-Type": "application/problem+json"}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    elif refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if isinstance(refusal, MethodNotAllowed):
        headers["Allow"] = refusal.allowed
    if isinstance(refusal, LimitReached):
        headers |= rate_limit_headers(refusal.limit, refusal.allowance.remaining)
    if isinstance(refusal, SignatureFault):
        headers["WWW-Authenticate"] = "NP-Signature"
    return headers
