"""Conditional requests (RFC 9110, 13): an answer with an `ETag`, or 304 where the client has it already.

For answers that are the same for everybody. All others are `no-store` (web/security_headers.py).
"""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.status_codes import HTTP_200_OK, HTTP_304_NOT_MODIFIED

NOT_MODIFIED: Final[Mapping[int, ResponseSpec]] = {
    HTTP_304_NOT_MODIFIED: ResponseSpec(
        None, description="Unchanged since the ETag in If-None-Match; the answer is empty"
    )
}


def cacheable(request: Request[Any, Any, Any], view: msgspec.Struct, *, fresh_for: timedelta) -> Response[Any]:
    """`Vary: Origin`, because the answer to another origin's page has the CORS headers of that origin."""
    body = msgspec.json.encode(view)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"public, max-age={int(fresh_for.total_seconds())}",
        "Vary": "Origin",
    }
    if etag_matches(request.headers.get("if-none-match", ""), tag):
        return Response(None, status_code=HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(view, status_code=HTTP_200_OK, headers=headers)


def etag_matches(known: str, tag: str) -> bool:
    """Whether `known` (If-None-Match) names `tag`, by weak comparison (RFC 9110, 13.1.2)."""
    tags = {each.strip().removeprefix("W/") for each in known.split(",")}
    return known.strip() == "*" or tag in tags
