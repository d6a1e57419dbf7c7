"""`application/problem+json` (RFC 9457) for the simulators whose partners answer so."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal with its status; `extra` members stand beside the standard ones."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {"type": "about:blank", "status": status, "code": code, "detail": detail, **extra}


def default_problem(status: int) -> dict[str, Any]:
    return {"type": "about:blank", "status": status, "code": "simulated_fault", "detail": "A fault set through /_sim"}


def of_problem(_request: Request[Any, Any, Any], problem: Problem) -> Response[dict[str, Any]]:
    return Response(problem.body, status_code=problem.status, media_type=MEDIA_TYPE)


def of_http_exception(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    body = {"type": "about:blank", "status": error.status_code, "code": "bad_request", "detail": error.detail}
    return Response(body, status_code=error.status_code, media_type=MEDIA_TYPE)


def decode(body: bytes, kind: type[Any]) -> Any:
    """The body as `kind`, or a 400 that says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        raise Problem(400, "invalid_body", str(fault)) from fault
