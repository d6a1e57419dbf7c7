"""Error documents (`application/problem+json`, RFC 9457): one mapping for our refusals and for the framework's errors.

An unexpected error becomes a 500 that shows its request id and nothing else; the log has the details.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from sqlalchemy.exc import StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_api.web import fields
from billing_api.web.undeclared import value_faults
from core.clock import Clock, utc_now
from core.crypto.signature import SignatureDefect
from core.errors import (
    BodyTooLarge,
    Busy,
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyMismatch,
    InsufficientScope,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    PartnerUnavailable,
    PermissionMissing,
    Refusal,
    RequestTimeout,
    RouteNotFound,
    SignatureFault,
    StepUpRequired,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from core.field_errors import BODY, invalid, message_fault, sayable
from core.ids import new_id
from core.problem_document import Problem, example_of, headers_of, problem_of
from core.problems import MEDIA_TYPE
from core.telemetry import logger
from db.availability import is_absence, is_busy


def problem_response(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Problem]:
    api = request.app.state.get("api")
    clock: Clock = api.clock if api else utc_now
    problem = problem_of(refusal, _request_id(request), clock().timestamp())
    headers = {name: value for name, value in headers_of(refusal).items() if name != "Content-Type"}
    if refusal.status == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # RFC 9110, 15.5.9: the rest of the request is not read
    return Response(problem, status_code=refusal.status, media_type=MEDIA_TYPE, headers=headers)


def framework_error(request: Request[Any, Any, Any], failure: HTTPException) -> Response[Problem]:
    """Litestar's own errors: no such route, wrong method, a body of another shape."""
    if failure.status_code >= 500:
        return internal_error(request, failure)
    if isinstance(failure, ValidationException):
        return problem_response(request, invalid(_field_errors(request, failure)))
    return problem_response(request, _refusal_of(failure))


def database_unavailable(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    if is_busy(failure):
        logger().warning("database.busy", error=type(failure).__name__)
        return problem_response(request, Busy("the database is busy; as far as is known nothing was changed"))
    logger().warning("database.unavailable", error=type(failure).__name__)
    return problem_response(
        request, Unavailable("the database does not answer; as far as is known nothing was changed")
    )


def statement_failed(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    """A well-formed request may still hold a value that PostgreSQL cannot store.

    `failure` is SQLAlchemy's, or the driver's own (db/reads.py).
    """
    if _is_unstorable(failure):
        logger().info("request.value_refused", error=type(getattr(failure, "orig", failure)).__name__)
        return problem_response(
            request,
            InvalidInput("a value cannot be stored: send no NUL character, no date too far, no number too big"),
        )
    if is_absence(failure):
        return database_unavailable(request, failure)
    return internal_error(request, failure)


def internal_error(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    logger().error("request.crashed", path=request.url.path, exc_info=failure)
    return problem_response(request, Internal("try again; if it happens again, send us the request_id"))


_BY_STATUS: Final[Mapping[int, type[Refusal]]] = {
    kind.status: kind
    for kind in (
        InvalidInput,
        Unauthenticated,
        Forbidden,
        RouteNotFound,
        RequestTimeout,
        BodyTooLarge,
        UnsupportedMediaType,
        TooManyRequests,
    )
}
"""Our refusal for each status of the framework's own exceptions."""

HANDLERS: Final[dict[int | type[Exception], Any]] = {
    Refusal: problem_response,
    HTTPException: framework_error,
    StatementError: statement_failed,
    asyncpg.PostgresError: statement_failed,
    asyncpg.InterfaceError: statement_failed,
    asyncpg.InternalClientError: statement_failed,
    PoolTimeout: database_unavailable,
    ConnectionError: database_unavailable,
    TimeoutError: database_unavailable,  # the pool's new connection came too late; gateways handle those of partners
    Exception: internal_error,
}


_EXAMPLES_AT: Final = 1_795_363_200.0
"""2026-11-22T16:00:00Z, in unix seconds."""


def documented(*refusals: type[Refusal]) -> ResponseSpec:
    """Refusals of one status for the OpenAPI document, with an example of each."""
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description="; or: ".join(refusal.title for refusal in refusals),
        media_type=MEDIA_TYPE,
        examples=[_example(refusal) for refusal in refusals],
    )


_TOLD: Final[Mapping[str, Refusal]] = {
    refusal.code: refusal
    for refusal in (
        invalid([FieldError("email", "is missing", "missing")]),
        SignatureFault(SignatureDefect.TOO_OLD),
        PermissionMissing("the API key lacks the permission `usage`"),
        InsufficientScope("licenses:read"),
        TooManyRequests("the limit 'user' is 100 requests in 60 seconds; wait 12 seconds, then try again"),
    )
}
"""Examples of refusals that say more than the table."""


def _example(refusal: type[Refusal]) -> Example:
    meaning = refusal.meaning
    told = _TOLD.get(meaning.code)
    problem = example_of(meaning, fields.REQUEST) if told is None else problem_of(told, fields.REQUEST, _EXAMPLES_AT)
    return Example(
        id=meaning.code,
        summary=meaning.title,
        description=f"{meaning.when} {meaning.do}",
        value=msgspec.to_builtins(problem),
    )


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
} | {Forbidden.status: documented(Forbidden, InsufficientScope)}
"""The errors that any route under /api/v1 may answer, for the OpenAPI document."""
STEP_UP_DOCUMENTED: Final[dict[int, ResponseSpec]] = {403: documented(StepUpRequired, Forbidden)}
"""What a route with `step_up=True` documents for 403 instead."""


def _is_unstorable(failure: Exception) -> bool:
    """SQLSTATE class 22, from the server or from the driver before it sent anything; or an instant out of range."""
    cause = failure.orig if isinstance(failure, StatementError) else failure
    if isinstance(cause, OverflowError | asyncpg.DataError):
        return True
    state: str | None = getattr(cause, "sqlstate", None)
    return (state or "").startswith("22")


def _request_id(request: Request[Any, Any, Any]) -> str:
    """The request's id. It is made here where no route was found, because then no middleware ran."""
    known: str = request.state.setdefault("request_id", new_id().hex)
    return known


def _field_errors(request: Request[Any, Any, Any], failure: ValidationException) -> Sequence[FieldError]:
    """The framework says which parameters are wrong; the texts are ours."""
    if found := value_faults(request.scope["query_string"], request.route_handler):
        return found
    items = [item for item in failure.extra if isinstance(item, dict)] if isinstance(failure.extra, list) else []
    errors = [message_fault(_text(item.get("message", "")), sayable(str(item.get("key", BODY)))) for item in items]
    return errors or [FieldError("request", "cannot be read")]


def _refusal_of(failure: HTTPException) -> Refusal:
    """Litestar's exception as one of our refusals, chosen by its HTTP status."""
    text = _text(failure.detail)
    if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {method for method in (failure.headers or {}).get("allow", "").split(", ") if method}
        return MethodNotAllowed(", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))))
    return _BY_STATUS.get(failure.status_code, Refusal)(text)


def _text(value: object) -> str:
    return str(value)[:500]
