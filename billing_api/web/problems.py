"""Every error as `application/problem+json` (RFC 9457): one mapping, for our refusals and for the framework's.

Whatever is not expected becomes a 500 that tells its request id and nothing else; the log has the rest.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_api.web.undeclared import value_faults
from core.clock import Clock, utc_now
from core.errors import (
    BodyTooLarge,
    Busy,
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyMismatch,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    PartnerUnavailable,
    Refusal,
    RequestTimeout,
    RouteNotFound,
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


def refused(request: Request[Any, Any, Any], refusal: Refusal) -> Response[Problem]:
    api = request.app.state.get("api")
    clock: Clock = api.clock if api else utc_now
    problem = problem_of(refusal, _request_id(request), clock().timestamp())
    headers = {name: value for name, value in headers_of(refusal).items() if name != "Content-Type"}
    if refusal.status == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"  # RFC 9110, 15.5.9: the rest of the request is not read
    return Response(problem, status_code=refusal.status, media_type=MEDIA_TYPE, headers=headers)


def framework_refused(request: Request[Any, Any, Any], failure: HTTPException) -> Response[Problem]:
    """Litestar's own: no such route, wrong method, a body that does not fit."""
    if failure.status_code >= 500:
        return crashed(request, failure)
    if isinstance(failure, ValidationException):
        return refused(request, invalid(_field_errors(request, failure)))
    return refused(request, _refusal_of(failure))


def database_away(request: Request[Any, Any, Any], failure: Exception) -> Response[Problem]:
    if is_busy(failure):
        logger().warning("database.busy", error=type(failure).__name__)
        return refused(request, Busy("the database is busy; nothing was changed as far as is known"))
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
    return refused(request, Internal("try again; if it stays, tell us the request_id"))


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
"""What the framework's own exceptions are here."""

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
        media_type=MEDIA_TYPE,
        examples=[_example(refusal) for refusal in refusals],
    )


def _example(refusal: type[Refusal]) -> Example:
    problem = example_of(refusal.meaning, "01a2043a1cd676b1916112de232bc4f6")
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


def _field_errors(request: Request[Any, Any, Any], failure: ValidationException) -> Sequence[FieldError]:
    """Of parameters: the framework has said which do not fit; the words are ours."""
    if found := value_faults(request.scope["query_string"], request.route_handler):
        return found
    items = [item for item in failure.extra if isinstance(item, dict)] if isinstance(failure.extra, list) else []
    told = [message_fault(_text(item.get("message", "")), sayable(str(item.get("key", BODY)))) for item in items]
    return told or [FieldError("request", "cannot be read")]


def _refusal_of(failure: HTTPException) -> Refusal:
    """Litestar's exception as one of ours: a status of HTTP says which."""
    text = _text(failure.detail)
    if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {method for method in (failure.headers or {}).get("allow", "").split(", ") if method}
        return MethodNotAllowed(", ".join(sorted(allowed | ({"HEAD"} if "GET" in allowed else set()))))
    return _BY_STATUS.get(failure.status_code, Refusal)(text)


def _text(value: object) -> str:
    return str(value)[:500]
