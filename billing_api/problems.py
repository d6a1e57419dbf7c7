"""Every error as `application/problem+json` (RFC 9457): one mapping, for our refusals and for the framework's.

Whatever is not expected becomes a 500 that tells its request id and nothing else; the log has the rest.
"""

import re
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.status_codes import HTTP_408_REQUEST_TIMEOUT
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    PartnerUnavailable,
    Refusal,
    StepUpRequired,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from core.ids import new_id
from core.telemetry import logger
from db.absence import is_absence

PROBLEM_JSON: Final = "application/problem+json"
_TYPE: Final = "urn:nextpanel:problem:"
_MSGSPEC_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of every answer that is not a success."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    conclusive: bool = True
    errors: tuple[FieldError, ...] = ()


def refused(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Problem]:
    status = refusal.status
    problem = Problem(
        type=_TYPE + refusal.code,
        title=refusal.title,
        status=status,
        detail=refusal.detail,
        code=refusal.code,
        request_id=_request_id(request),
        conclusive=status < 500,
        errors=refusal.errors,
    )
    headers = {}
    if refusal.retry_after is not None or isinstance(refusal, Unavailable):
        headers["Retry-After"] = str(refusal.retry_after or 1)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if status == HTTP_408_REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # RFC 9110, 15.5.9: the rest of the request is not read
    return Response(problem, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def framework_refused(request: Request[Any, Any, Any], failure: HTTPException) -> Response[Problem]:
    """Litestar's own: no such route, wrong method, a body that does not fit."""
    if failure.status_code >= 500:
        return crashed(request, failure)
    problem = Problem(
        type=_TYPE + _code(failure.status_code),
        title=_title(failure),
        status=failure.status_code,
        detail=_text(failure.detail),
        code=_code(failure.status_code),
        request_id=_request_id(request),
        errors=_field_errors(failure) if isinstance(failure, ValidationException) else (),
    )
    allowed = {name: value for name, value in (failure.headers or {}).items() if name.lower() == "allow"}
    return Response(problem, status_code=failure.status_code, media_type=PROBLEM_JSON, headers=allowed)


def database_away(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    logger().warning("database.unavailable", error=type(failure).__name__)
    return refused(request, Unavailable("the database does not answer; nothing was changed as far as is known"))


def statement_failed(request: Request[Any, Any, Any], failure: StatementError) -> Response[Problem]:
    """What the client sent may be well formed and yet be no value of PostgreSQL's."""
    if _does_not_fit(failure):
        logger().info("request.value_refused", error=type(failure.orig).__name__)
        return refused(request, InvalidInput("a value cannot be stored: a NUL, a date too far, or a number too big"))
    if is_absence(failure):
        return database_away(request, failure)
    return crashed(request, failure)


def crashed(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    logger().error("request.crashed", path=request.url.path, exc_info=failure)
    problem = Problem(
        type=_TYPE + "internal",
        title="Something went wrong on our side",
        status=500,
        detail="Try again; if it stays, tell us the request_id",
        code="internal",
        request_id=_request_id(request),
        conclusive=False,
    )
    return Response(problem, status_code=500, media_type=PROBLEM_JSON)


def invalid_body(failure: msgspec.DecodeError | UnicodeDecodeError) -> InvalidInput:
    """The message of msgspec, `Expected int, got str - at `$.count``, as a field error."""
    return InvalidInput("the body does not fit", errors=(_field_error(str(failure)),))


_STRANGE_NAME: Final = re.compile(r"unknown field `(?!\w{1,64}`).*`", re.DOTALL)
"""A name that is none: a whole body was sent as a form, say, with a password in it. It is not said again."""

HANDLERS: Final[dict[int | type[Exception], Any]] = {
    Refusal: refused,
    HTTPException: framework_refused,
    StatementError: statement_failed,
    PoolTimeout: database_away,
    ConnectionError: database_away,
    TimeoutError: database_away,  # a new connection of the pool was not made in time; partners' are their gateways' own
    Exception: crashed,
}


def documented(*refusals: type[Refusal]) -> ResponseSpec:
    """Refusals of one status, an example of each."""
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description="; or: ".join(refusal.title for refusal in refusals),
        media_type=PROBLEM_JSON,
        examples=[_example(refusal) for refusal in refusals],
    )


def _example(refusal: type[Refusal]) -> Example:
    problem = Problem(
        type=_TYPE + refusal.code,
        title=refusal.title,
        status=refusal.status,
        detail=refusal.title,
        code=refusal.code,
        request_id="01a2043a1cd676b1916112de232bc4f6",
        conclusive=refusal.status < 500,
    )
    return Example(summary=refusal.code, value=msgspec.to_builtins(problem))


DOCUMENTED: Final[dict[int, ResponseSpec]] = {
    refusal.status: documented(refusal)
    for refusal in (
        InvalidInput,
        Unauthenticated,
        Forbidden,
        NotFound,
        Conflict,
        IdempotencyMismatch,
        TooManyRequests,
        PartnerUnavailable,
        Unavailable,
    )
}
"""What any route under /api/v1 may answer beside its success, for the OpenAPI document."""
STEP_UP_DOCUMENTED: Final[dict[int, ResponseSpec]] = {403: documented(StepUpRequired, Forbidden)}
"""What a route with `step_up=True` answers in place of that."""


def _does_not_fit(failure: StatementError) -> bool:
    """SQLSTATE class 22, of the server or of the driver that did not even send it; or no such instant in UTC."""
    if isinstance(failure.orig, OverflowError):
        return True
    state: str | None = getattr(failure.orig, "sqlstate", None)
    return isinstance(failure, DBAPIError) and (state or "").startswith("22")


def _request_id(request: Request[Any, Any, Any]) -> str:
    """The request's id; where no route was found no middleware ran, and the id is made here."""
    known: str = request.state.setdefault("request_id", new_id().hex)
    return known


def _field_error(message: str) -> FieldError:
    message = _STRANGE_NAME.sub("unknown field", message)
    match = _MSGSPEC_PATH.match(message)
    path = (match["path"] or "").lstrip(".") if match else ""
    return FieldError(field=path or "body", detail=match["what"] if match else message)


def _field_errors(failure: ValidationException) -> tuple[FieldError, ...]:
    items = failure.extra if isinstance(failure.extra, list) else []
    return tuple(
        FieldError(field=str(item.get("key", "body")), detail=_text(item.get("message", "invalid")))
        for item in items
        if isinstance(item, dict)
    )


def _title(failure: HTTPException) -> str:
    titles = {404: "There is no such thing here", 405: "This method is not served here", 413: "The body is too large"}
    return titles.get(failure.status_code, "The request cannot be carried out")


def _code(status: int) -> str:
    codes = {
        400: "invalid_input",
        401: "unauthenticated",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
    }
    return codes.get(status, "payload_too_large" if status == 413 else "bad_request")


def _text(value: object) -> str:
    return _STRANGE_NAME.sub("unknown field", str(value))[:500]
