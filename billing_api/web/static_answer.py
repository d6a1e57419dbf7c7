"""Answers that never change while a process lives: compressed once, and sent again only after a release.

A client that sends the entity tag (RFC 9110, 8.8.3) of what it has is answered 304. A client that accepts gzip gets the
compressed bytes.
"""

import gzip
import hashlib
from typing import Final

import msgspec
from litestar import Response

from billing_api.web.conditional_get import etag_matches

_LEVEL: Final = 9


class StaticAnswer:
    def __init__(self, plain: bytes, compressed: bytes, *, media_type: str, cache_control: str) -> None:
        self._plain = plain
        self._compressed = compressed
        self._digest = hashlib.sha256(plain).hexdigest()[:32]
        self._media_type = media_type
        self._cache_control = cache_control

    @classmethod
    def of(cls, plain: bytes, *, media_type: str, cache_control: str) -> "StaticAnswer":
        compressed = gzip.compress(plain, _LEVEL, mtime=0)
        return cls(plain, compressed, media_type=media_type, cache_control=cache_control)

    def answer(self, known: str, accepted: str) -> Response[bytes]:
        """`known` and `accepted`: the request's If-None-Match and Accept-Encoding."""
        compressed = accepts_gzip(accepted)
        tag = f'"{self._digest}-gzip"' if compressed else f'"{self._digest}"'
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": self._cache_control}
        if etag_matches(known, tag):
            return Response(b"", status_code=304, headers=headers)
        if compressed:
            headers["Content-Encoding"] = "gzip"
        content = self._compressed if compressed else self._plain
        return Response(content, headers=headers, media_type=self._media_type)


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
