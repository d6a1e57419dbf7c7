"""Answers that are at hand as bytes: encoded and compressed once, with their headers.

A client that sends the entity tag (RFC 9110, 8.8.3) of what it has is answered 304. A client that accepts gzip gets the
compressed bytes.
"""

import gzip
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from litestar import Response
from typing_extensions import override

from billing_api.web.conditional_get import etag_matches

VARY: Final = "Accept-Encoding, Origin"
"""The answer to a page of a listed origin has the CORS headers of that origin."""
_LEVEL: Final = 9


class ReadyResponse(Response[bytes]):
    """A response that is the same each time it is sent: nothing is encoded or joined for a request."""

    def __init__(self, content: bytes, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(content, status_code=status_code, headers=headers)
        self._head = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    @override
    def to_asgi_response(self, *_arguments: Any, **_named: Any) -> Any:
        return self._send

    async def _send(self, _scope: Any, _receive: Any, send: Any) -> None:
        # The list is a new one each time, because middleware adds headers to it.
        await send({"type": "http.response.start", "status": self.status_code, "headers": [*self._head]})
        await send({"type": "http.response.body", "body": self.content, "more_body": False})


class StaticAnswer:
    def __init__(self, plain: bytes, compressed: bytes, *, media_type: str, cache_control: str) -> None:
        digest = hashlib.sha256(plain).hexdigest()[:32]
        common = {"Vary": VARY, "Cache-Control": cache_control}
        self._plain = _Coded(plain, f'"{digest}"', common, {"Content-Type": media_type})
        gzipped = {"Content-Type": media_type, "Content-Encoding": "gzip"}
        self._compressed = _Coded(compressed, f'"{digest}-gzip"', common, gzipped)

    @classmethod
    def of(cls, plain: bytes, *, media_type: str, cache_control: str) -> "StaticAnswer":
        compressed = gzip.compress(plain, _LEVEL, mtime=0)
        return cls(plain, compressed, media_type=media_type, cache_control=cache_control)

    def answer(self, known: str, accepted: str) -> Response[bytes]:
        """`known` and `accepted`: the request's If-None-Match and Accept-Encoding."""
        coded = self._compressed if accepted and accepts_gzip(accepted) else self._plain
        return coded.unchanged if known and etag_matches(known, coded.tag) else coded.whole


class _Coded:
    """One representation: whole, and for a client that has it."""

    def __init__(self, content: bytes, tag: str, common: Mapping[str, str], its_own: Mapping[str, str]) -> None:
        self.tag = tag
        headers = {"ETag": tag, **common}
        self.whole = ReadyResponse(content, 200, {**headers, **its_own, "Content-Length": str(len(content))})
        self.unchanged = ReadyResponse(b"", 304, headers)


@lru_cache(maxsize=256)  # browsers send one of a few texts
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
