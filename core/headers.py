"""Rules for request headers that both APIs share (RFC 9110). Names and values are bytes, names in lower case."""

from collections.abc import Iterable
from typing import Final

ONLY_ONCE: Final = frozenset(
    {b"authorization", b"content-type", b"expect", b"host", b"idempotency-key", b"np-signature"}
)
"""Fields that must not be repeated: nobody could tell which one counts. Such a request is refused."""

JSON: Final = b"application/json"
_CHARSETS: Final = frozenset({b"", b"charset=utf-8", b'charset="utf-8"'})


def repeated(names: Iterable[bytes]) -> bytes | None:
    """A name of ONLY_ONCE that stands more than once."""
    seen: set[bytes] = set()
    for name in names:
        if name in seen and name in ONLY_ONCE:
            return name
        seen.add(name)
    return None


def is_json(content_type: bytes) -> bool:
    """Whether a media type is JSON in UTF-8."""
    media_type, _, parameters = content_type.lower().partition(b";")
    return media_type.strip() == JSON and parameters.strip() in _CHARSETS
