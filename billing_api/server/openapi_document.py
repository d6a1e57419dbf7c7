"""The interface's description as JSON: made once for each process, compressed, and sent only to who has another one.

It is half a megabyte that changes with a release. So it has an entity tag (RFC 9110, 8.8.3), a client that shows the
tag is answered 304, and one that takes gzip gets a tenth of the bytes. `Cache-Control: no-cache` lets clients keep it
and has them ask each time.
"""

import gzip
import hashlib
import re
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.enums import OpenAPIMediaType
from litestar.openapi.plugins import OpenAPIRenderPlugin
from typing_extensions import override

_LEVEL: Final = 9
_PAGES: Final = re.compile(rb"Page_[\w.]*\.(\w+)_(?=\")")
"""Litestar names a page by the module of its items; generated clients must not change when a module moves."""


class DescriptionFile(OpenAPIRenderPlugin):
    """Litestar's handler passes on what `render` answers, a Response as well as bytes."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._made: _Description | None = None

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> Any:
        if self._made is None:
            self._made = _Description(_PAGES.sub(rb"\1Page", self.render_json(request, openapi_schema)))
        return self._made.answer(request.headers.get("if-none-match", ""), request.headers.get("accept-encoding", ""))


class _Description:
    def __init__(self, plain: bytes) -> None:
        self._plain = plain
        self._compressed = gzip.compress(plain, _LEVEL, mtime=0)
        self._digest = hashlib.sha256(plain).hexdigest()[:32]

    def answer(self, known: str, accepted: str) -> Response[bytes]:
        """`known` and `accepted`: the request's If-None-Match and Accept-Encoding."""
        compressed = takes_gzip(accepted)
        tag = f'"{self._digest}-gzip"' if compressed else f'"{self._digest}"'
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        if names(known, tag):
            return Response(b"", status_code=304, headers=headers)
        if compressed:
            headers["Content-Encoding"] = "gzip"
        content = self._compressed if compressed else self._plain
        return Response(content, headers=headers, media_type=OpenAPIMediaType.OPENAPI_JSON)


def names(known: str, tag: str) -> bool:
    """Whether a client that has what `known` names has this: weak comparison (RFC 9110, 13.1.2)."""
    tags = {each.strip().removeprefix("W/") for each in known.split(",")}
    return known.strip() == "*" or tag in tags


def takes_gzip(accepted: str) -> bool:
    """Whether gzip is named, or everything is, and not with a weight of 0 (RFC 9110, 12.5.3)."""
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
