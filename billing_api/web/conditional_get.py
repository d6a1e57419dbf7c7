"""Conditional requests (RFC 9110, 13): an answer with an `ETag`, or 304 where the client has it already.

For answers that are the same for everybody. All others are `no-store` (web/security_headers.py).
"""

from collections.abc import Mapping
from typing import Final

from litestar.openapi.datastructures import ResponseSpec
from litestar.status_codes import HTTP_304_NOT_MODIFIED

NOT_MODIFIED: Final[Mapping[int, ResponseSpec]] = {
    HTTP_304_NOT_MODIFIED: ResponseSpec(
        None, description="Unchanged since the ETag in If-None-Match; the answer is empty"
    )
}


def etag_matches(known: str, tag: str) -> bool:
    """Whether `known` (If-None-Match) names `tag`, by weak comparison (RFC 9110, 13.1.2)."""
    tags = {each.strip().removeprefix("W/") for each in known.split(",")}
    return known.strip() == "*" or tag in tags
