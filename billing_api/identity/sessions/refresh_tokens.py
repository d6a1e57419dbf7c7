"""Refresh token rotation with reuse detection: a browser stays signed in for a week with tokens that work once.

A sign-in is a family of tokens, one after another. Each is good for one refresh, which returns its successor. A token
that is used again later has been copied. Nobody can tell the thief from the owner, so the whole family ends (RFC 9700,
4.14.2).

    token     = session id (32 hex digits) "." base64url(name "." seal), 43 characters of 16 and 16 bytes
    name      of the first token: random; of a successor: keyed hash of the token before
    seal      keyed hash of session id and name

The session id is in the token so that a token of any age finds its family. If only the newest hashes were known, a
thief who refreshes twice would make the owner's token an unknown one and stay undetected. The seal shows whether a
token, however old, belongs to this family or was made up. Session ids are visible in access tokens and in lists, so a
session id alone must end nothing.

The successor is computed from the token. So three tabs that refresh at the same moment all get the same one, and it
does not matter which answer's cookie the browser keeps. Only the server can compute it: the hash is keyed, and the
first name is random.

Older tokens without a seal count while they are the newest of their family or the one before it.
"""

import base64
import enum
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from core.crypto.sealing import KeyedHash
from db.models.identity import Session

LIFETIME: Final = timedelta(days=7)
"""Counted from the last refresh."""
GRACE: Final = timedelta(seconds=10)
"""How long the previous token still counts: requests of one browser may overtake each other."""

_HALF: Final = 16
"""Bytes: neither half can be guessed."""
_FORM: Final = re.compile(r"([0-9a-f]{32})\.[A-Za-z0-9_-]{43}")


class TokenStanding(enum.Enum):
    """The state of a presented token within its family."""

    CURRENT = enum.auto()
    JUST_REPLACED = enum.auto()
    COPIED = enum.auto()
    FOREIGN = enum.auto()
    """Made up: its maker knew the session id and nothing else."""
    OVER = enum.auto()
    """The family has ended."""


def standing(session: Session, token_hash: bytes, now: datetime, *, genuine: bool) -> TokenStanding:
    """`genuine`: whether this is a token of the family, of any age (`is_genuine`)."""
    if session.revoked_at is not None or session.expires_at <= now:
        return TokenStanding.OVER
    if hmac.compare_digest(token_hash, session.refresh_hash):
        return TokenStanding.CURRENT
    is_previous = session.previous_hash is not None and hmac.compare_digest(token_hash, session.previous_hash)
    if is_previous and now - session.rotated_at <= GRACE:
        return TokenStanding.JUST_REPLACED
    return TokenStanding.COPIED if is_previous or genuine else TokenStanding.FOREIGN


def first(session_id: UUID, keyed_hash: KeyedHash) -> str:
    return _token(session_id.hex, secrets.token_bytes(_HALF), keyed_hash)


def successor(token: str, keyed_hash: KeyedHash) -> str:
    return _token(token.partition(".")[0], keyed_hash.digest("refresh_successor", token)[:_HALF], keyed_hash)


def is_genuine(token: str, keyed_hash: KeyedHash) -> bool:
    """Whether this server made exactly this token."""
    family, _, rest = token.partition(".")
    name = base64.urlsafe_b64decode(f"{rest}=")[:_HALF]
    return hmac.compare_digest(token, _token(family, name, keyed_hash))


def stored_hash(token: str, keyed_hash: KeyedHash) -> bytes:
    return keyed_hash.digest("refresh_token", token)


def _token(family: str, name: bytes, keyed_hash: KeyedHash) -> str:
    seal = keyed_hash.digest("refresh_family", f"{family} {name.hex()}")[:_HALF]
    return f"{family}.{base64.urlsafe_b64encode(name + seal).decode().rstrip('=')}"


def session_id(token: str) -> UUID | None:
    """The family that a token names; None where the text has not the form of our tokens."""
    match = _FORM.fullmatch(token)
    return UUID(hex=match[1]) if match else None
