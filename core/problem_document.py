"""The body and the headers of every refusal (RFC 9457), as both doors answer it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from core.crypto.signature import HEADER
from core.errors import FieldError, MethodNotAllowed, Refusal, SignatureFault, Unavailable
from core.problems import MEDIA_TYPE, Meaning

_LEAST_WAIT: Final = 1


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why the request was not carried out (RFC 9457). `code` is for programs, `detail` for people."""

    type: str
    """`/problems/<code>`, relative to the answer's address: a text there says what it means and what to do."""
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    conclusive: bool
    """False: nothing can be concluded. True: the same request is refused again."""
    errors: tuple[FieldError, ...] = ()
    """Of content that does not fit: every place where it does not."""
    check: str | msgspec.UnsetType = msgspec.UNSET
    """Of an NP-Signature: which check failed."""
    server_time: int | msgspec.UnsetType = msgspec.UNSET
    """Of an NP-Signature: unix seconds here, to compare a clock with."""


def problem_of(refusal: Refusal, request_id: str, now: float) -> Problem:
    """`now`: unix seconds."""
    meaning = refusal.meaning
    fault = refusal.fault if isinstance(refusal, SignatureFault) else None
    return Problem(
        type=meaning.type,
        title=meaning.title,
        status=meaning.status,
        detail=refusal.detail,
        code=meaning.code,
        request_id=request_id,
        conclusive=meaning.conclusive,
        errors=refusal.errors,
        check=msgspec.UNSET if fault is None else fault.name.lower(),
        server_time=msgspec.UNSET if fault is None else int(now),
    )


def example_of(meaning: Meaning, request_id: str) -> Problem:
    """As it looks where there is nothing more to say than the table does."""
    return Problem(
        type=meaning.type,
        title=meaning.title,
        status=meaning.status,
        detail=meaning.title,
        code=meaning.code,
        request_id=request_id,
        conclusive=meaning.conclusive,
    )


def headers_of(refusal: Refusal) -> Mapping[str, str]:
    """Those that follow from the refusal alone, the media type included."""
    headers = {"Content-Type": MEDIA_TYPE}
    if refusal.retry_after is not None or isinstance(refusal, Unavailable):
        headers["Retry-After"] = str(refusal.retry_after or _LEAST_WAIT)
    elif refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(_LEAST_WAIT)
    if isinstance(refusal, MethodNotAllowed):
        headers["Allow"] = refusal.allowed
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = HEADER if isinstance(refusal, SignatureFault) else "Bearer"
    return headers
