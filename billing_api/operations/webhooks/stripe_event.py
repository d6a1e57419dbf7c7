"""Stripe event, as bytes: its signature is verified, and as much of it is read as can be stored.

The signature is Stripe's scheme `v1`: HMAC-SHA256 over "<t>.<body>", `t` and any number of `v1` in one header
(docs.stripe.com/webhooks#verify-manually). It is checked over the bytes, before they are decoded. `t` has to be the
present, within five minutes: the SDK's check accepts a time in the future, with which a captured event could be sent
again for ever.

A signed event is Stripe's and may not be refused, so each has a row: also an event of the other kind (thin: no `data`),
one of an unknown version, or one with characters that PostgreSQL cannot hold.
"""

import base64
import hashlib
import hmac
import json
import re
from typing import Any, Final, NamedTuple

import msgspec

TOLERANCE_SECONDS: Final = 300
UNREADABLE: Final = "unreadable"
"""The type of an event whose id and type cannot be read."""

_LONGEST_NAME: Final = 255
_LONGEST_KEPT: Final = 10_000
_CANNOT_BE_STORED: Final = re.compile("[\x00\ud800-\udfff]")
"""NUL and lone surrogates: JSON can contain them, PostgreSQL's text and jsonb cannot."""


class Event(NamedTuple):
    id: str
    type: str
    payload: dict[str, Any]


def is_signed(raw: bytes, header: str, secrets: tuple[str, ...], now: float) -> bool:
    """Whether one of the secrets has signed these bytes, at about this time (unix seconds)."""
    parts = [part.partition("=") for part in header.split(",")]
    said = next((value for name, _, value in parts if name.strip() == "t"), "").strip()
    if not (said.isascii() and said.isdigit()) or len(said) > 12 or abs(now - int(said)) > TOLERANCE_SECONDS:
        return False
    given = [value.strip().encode("latin-1", "replace") for name, _, value in parts if name.strip() == "v1"]
    signed = said.encode() + b"." + raw
    for secret in secrets:
        good = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        if any(hmac.compare_digest(good, one) for one in given):
            return True
    return False


def read(raw: bytes) -> Event:
    """The event, with text that can be stored. One that cannot be read is named by a hash, and its bytes are kept."""
    try:
        event = json.loads(raw)
        storable = _storable(event)
        msgspec.json.encode(storable)  # as the database's driver will
    except (ValueError, RecursionError, OverflowError, TypeError):
        return _unreadable(raw)
    if isinstance(event, dict) and _is_name(event.get("id")) and _is_name(event.get("type")):
        return Event(event["id"], event["type"], storable)
    return _unreadable(raw)


def _is_name(value: Any) -> bool:
    """Whether it is a name as it came: with a character replaced, two names could become the same."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_NAME and not _CANNOT_BE_STORED.search(value)


def _unreadable(raw: bytes) -> Event:
    kept = base64.b64encode(raw[:_LONGEST_KEPT]).decode()
    return Event(f"{UNREADABLE}-{hashlib.sha256(raw).hexdigest()}", UNREADABLE, {"base64": kept, "bytes": len(raw)})


def _storable(value: Any) -> Any:
    match value:
        case str():
            return _CANNOT_BE_STORED.sub("\ufffd", value)
        case dict():
            return {_storable(name): _storable(held) for name, held in value.items()}
        case list():
            return [_storable(held) for held in value]
        case _:
            return value
