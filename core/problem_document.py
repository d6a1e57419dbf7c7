"""Problem details (RFC 9457): body and headers of every refusal, the same for both APIs."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from core.crypto.signature import HEADER
from core.errors import (
    FieldError,
    InsufficientScope,
    InvalidToken,
    MethodNotAllowed,
    PreviewStale,
    Refusal,
    SignatureFault,
    Unavailable,
)
from core.problems import MEDIA_TYPE, Meaning

_LEAST_WAIT: Final = 1
_BEARER: Final = 'Bearer realm="nextpanel-billing"'  # RFC 6750, 3: never without a parameter


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why the request was not carried out (RFC 9457). `code` is for programs, `detail` for people."""

    type: Annotated[
        str,
        msgspec.Meta(
            description=(
                "`/problems/<code>`, relative to the answer's address: the text there says what it means "
                "and what to do."
            ),
            examples=["/problems/not_found"],
        ),
    ]
    title: Annotated[
        str,
        msgspec.Meta(description="What this kind of problem is, for people.", examples=["There is no such thing here"]),
    ]
    status: Annotated[int, msgspec.Meta(description="The HTTP status, as in the head of the answer.", examples=[404])]
    detail: Annotated[
        str,
        msgspec.Meta(
            description="What is wrong here and what to do, for people.",
            examples=["there is no such license: read the list again, and take the id from there"],
        ),
    ]
    code: Annotated[
        str,
        msgspec.Meta(description="What is wrong, for programs: a line of docs/problems.md.", examples=["not_found"]),
    ]
    request_id: Annotated[
        str,
        msgspec.Meta(
            description="The name of this answer in our logs; send it to us with questions.",
            examples=["01a2043a1cd676b1916112de232bc4f6"],
        ),
    ]
    conclusive: Annotated[
        bool,
        msgspec.Meta(
            description="True: the same request is refused again. False: nothing can be concluded.", examples=[True]
        ),
    ]
    errors: Annotated[
        tuple[FieldError, ...], msgspec.Meta(description="For invalid content: every place where it is wrong.")
    ] = ()
    check: Annotated[
        str | msgspec.UnsetType,
        msgspec.Meta(description="For an NP-Signature: which check failed.", examples=["too_old"]),
    ] = msgspec.UNSET
    preview: Annotated[
        Mapping[str, Any] | msgspec.UnsetType,
        msgspec.Meta(description="For preview_stale: what the change would cost now.", examples=[{}]),
    ] = msgspec.UNSET
    server_time: Annotated[
        int | msgspec.UnsetType,
        msgspec.Meta(
            description="For an NP-Signature: unix seconds here, to compare your clock with.", examples=[1795363200]
        ),
    ] = msgspec.UNSET


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
        preview=refusal.preview if isinstance(refusal, PreviewStale) else msgspec.UNSET,
    )


def example_of(meaning: Meaning, request_id: str) -> Problem:
    """A problem that says nothing beyond the table."""
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
    """The headers that follow from the refusal alone, the media type included."""
    headers = {"Content-Type": MEDIA_TYPE}
    if refusal.retry_after is not None or isinstance(refusal, Unavailable):
        headers["Retry-After"] = str(refusal.retry_after or _LEAST_WAIT)
    elif refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(_LEAST_WAIT)
    if isinstance(refusal, MethodNotAllowed):
        headers["Allow"] = refusal.allowed
    if (challenge := _challenge(refusal)) is not None:
        headers["WWW-Authenticate"] = challenge
    return headers


def _challenge(refusal: Refusal) -> str | None:
    """Which credentials are asked for, and what is wrong with those that came (RFC 9110, 11.6.1; RFC 6750, 3)."""
    if isinstance(refusal, SignatureFault):
        return HEADER
    if isinstance(refusal, InvalidToken):
        return f'{_BEARER}, error="invalid_token"'
    if isinstance(refusal, InsufficientScope):
        return f'{_BEARER}, error="insufficient_scope", scope="{refusal.scope}"'
    return _BEARER if refusal.status == HTTPStatus.UNAUTHORIZED else None
