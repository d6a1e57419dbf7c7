"""What the domains share of HTTP: text that can be stored, page parameters, answers that may be replayed ones."""

from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from billing_api.idempotency import Replayable

ViewT = TypeVar("ViewT", bound=msgspec.Struct)

STORABLE: Final = r"^[^\x00]*$"
"""PostgreSQL's text holds every character but NUL."""

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="how many items at most")]
Offset = Annotated[int, QueryParameter(ge=0, le=1_000_000, description="how many items to leave out")]


def reply(answer: Replayable[ViewT], *, status_code: int) -> Response[ViewT]:
    """The first answer and every replay look alike, but for one header. It may hold a secret: nobody keeps it."""
    headers = {"Cache-Control": "no-store"}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.view, status_code=status_code, headers=headers)
