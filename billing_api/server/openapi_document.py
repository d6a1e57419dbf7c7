"""OpenAPI document as JSON: encoded once for each process, compressed, and sent again only after a change.

It is a third of a megabyte that changes with a release. So it has an entity tag (RFC 9110, 8.8.3): a client that sends
the tag is answered 304. A client that accepts gzip gets a seventh of the bytes. `Cache-Control: no-cache` lets clients
store the document, but they must ask each time whether it is still current.
"""

import gzip
import hashlib
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.enums import OpenAPIMediaType
from litestar.openapi.plugins import OpenAPIRenderPlugin
from typing_extensions import override

from billing_api.server.reference.document import encoded
from billing_api.web.conditional_get import etag_matches

_LEVEL: Final = 9


class OpenApiJson(OpenAPIRenderPlugin):
    """Litestar's handler accepts a Response from `render` as well as bytes."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._document: _EncodedDocument | None = None

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> Any:
        if self._document is None:
            self._document = _EncodedDocument(encoded(request.app))
        return self._document.answer(
            request.headers.get("if-none-match", ""), request.headers.get("accept-encoding", "")
        )


class _EncodedDocument:
    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._compressed = gzip.compress(plain, _LEVEL, mtime=0)
        self._digest = hashlib.sha256(plain).hexdigest()[:32]

    def answer(self, known: str, accepted: str) -> Response[bytes]:
        """`known` and `accepted`: the request's If-None-Match and Accept-Encoding."""
        compressed = accepts_gzip(accepted)
        tag = f'"{self._digest}-gzip"' if compressed else f'"{self._digest}"'
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if etag_matches(known, tag):
            return Response(b"", status_code=304, headers=headers)
        if compressed:
            headers["Content-Encoding"] = "gzip"
        content = self._compressed if compressed else self._plain
        return Response(content, headers=headers, media_type=OpenAPIMediaType.OPENAPI_JSON)


def accepts_gzip(accepted: str) -> bool:
    """Whether `accepted` (Accept-Encoding) names gzip or `*` with a weight above 0 (RFC 9110, 12.5.3)."""
    weights: dict[str, float] = {}
    for each in accepted.lower().split(","):
        coding, _, parameter = each.partition(";")
        weights[coding.strip()] = _weight(parameter)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def _weight(parameter: str) -> float:
    try:
        return msgspec.convert(parameter.strip().removeprefix("q=") or 1, float, strict=False)
    except msgspec.ValidationError:
        return 0.0
