"""Identifiers, made here and not by the database, so that a row's id is known before it is written.

UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then randomness. Rows made one after another lie side by side in
the primary key's index, and PostgreSQL 16 has no function of its own for it.
"""

import secrets
from uuid import UUID

from core.clock import unix_time

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62


def new_id() -> UUID:
    """A UUIDv7: sortable by the millisecond it was made in, 74 bits of it random."""
    milliseconds = int(unix_time() * 1000) & 0xFFFF_FFFF_FFFF
    random_a = secrets.randbits(12) << 64
    random_b = secrets.randbits(62)
    return UUID(int=milliseconds << 80 | _VERSION_7 | random_a | _VARIANT_RFC | random_b)


def new_token(length: int = 32) -> str:
    """An unguessable URL-safe string of `length` random bytes: reset links, API secrets, refresh tokens."""
    return secrets.token_urlsafe(length)
