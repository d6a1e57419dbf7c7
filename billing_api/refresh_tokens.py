"""Refresh tokens: how a browser stays signed in for a week without keeping a secret for longer than its next use.

A sign-in is a family of tokens, one after another; each is good for one refresh, which gives its successor. A token
that comes back after its turn has been copied: nobody can tell the thief from the owner, so the whole family ends
(RFC 9700, 4.14.2).

    token     = session id (32 hex digits) "." secret (43 characters, base64url of 32 bytes)
    successor = same session id "." base64url(keyed hash of the token)

The session id is in the token so that a token of any age finds its family: were only the newest hashes known, a thief
who refreshes twice would turn the owner's token into an unknown one and stay undetected. Whoever can name a session
has held one of its tokens, so a wrong secret under a right id ends the family as well.

The successor follows from the token, so that three tabs which refresh at the same moment all get the same one, and it
does not matter whose cookie the browser keeps. Only the server can make it: the hash is keyed, the first secret random.
"""

import base64
import enum
import hmac
import re
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core.crypto.sealing import KeyedHash
from core.ids import new_token
from db.models.people import Session

LIFETIME: Final = timedelta(days=7)
"""From the last refresh on."""
GRACE: Final = timedelta(seconds=10)
"""How long the token before the newest still counts: requests of one browser overtake each other."""

_FORM: Final = re.compile(r"([0-9a-f]{32})\.[A-Za-z0-9_-]{43}")


class Standing(enum.Enum):
    """What a presented token is to its family."""

    CURRENT = enum.auto()
    JUST_REPLACED = enum.auto()
    COPIED = enum.auto()
    OVER = enum.auto()


def standing(session: Session, token_hash: bytes, now: datetime) -> Standing:
    if session.revoked_at is not None or session.expires_at <= now:
        return Standing.OVER
    if hmac.compare_digest(token_hash, session.refresh_hash):
        return Standing.CURRENT
    is_previous = session.previous_hash is not None and hmac.compare_digest(token_hash, session.previous_hash)
    return Standing.JUST_REPLACED if is_previous and now - session.rotated_at <= GRACE else Standing.COPIED


def first(session_id: UUID) -> str:
    return f"{session_id.hex}.{new_token(32)}"


def successor(token: str, keyed_hash: KeyedHash) -> str:
    secret = keyed_hash.digest("refresh_successor", token)
    return f"{token.partition('.')[0]}.{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def stored_hash(token: str, keyed_hash: KeyedHash) -> bytes:
    return keyed_hash.digest("refresh_token", token)


def session_id(token: str) -> UUID | None:
    """The family a token names; None where this is no token of ours."""
    match = _FORM.fullmatch(token)
    return UUID(hex=match[1]) if match else None
