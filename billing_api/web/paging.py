"""Paging over HTTP: which part of a list a request asks for."""

import re
from typing import Annotated, Any, Final

from litestar import Request
from litestar.params import QueryParameter

from billing_api.web.parameters import Limit, Offset
from core import query
from core.errors import FieldError, InvalidInput
from db.paging import LONGEST_CURSOR, Paging

_PARAMETER: Final = re.compile(r"\{(\w+)(?::\w+)?\}")
_PLACES: Final = frozenset({"limit", "offset", "cursor"})
_NOT_BOTH: Final = "already says where to begin: send it without offset"

Cursor = Annotated[
    str | None,
    QueryParameter(
        max_length=LONGEST_CURSOR,
        description="The `next_cursor` of the page before: the list goes on behind it, whatever was added or deleted "
        "since. Send the same filters, and no offset.",
    ),
]


def requested_paging(
    request: Request[Any, Any, Any], limit: Limit = 20, offset: Offset = 0, cursor: Cursor = None
) -> Paging:
    """The dependency `paging`. A cursor holds for this path with these filters, in whatever order they are sent."""
    if cursor is not None and offset:
        raise InvalidInput(f"cursor {_NOT_BOTH}", errors=(FieldError("cursor", _NOT_BOTH),))
    filters = sorted(pair for pair in query.pairs(request.scope["query_string"]) if pair[0] not in _PLACES)
    return Paging(f"{canonical_path(request)} {filters}", limit, offset, cursor)


def canonical_path(request: Request[Any, Any, Any]) -> str:
    """The path in one form: an id with capitals or without dashes is the same id."""
    given = request.path_params
    template: str = request.scope["path_template"]
    return _PARAMETER.sub(lambda found: str(given.get(found[1], found[0])), template)
