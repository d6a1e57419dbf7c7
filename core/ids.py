"""Identifiers, made here and not by the database, so that a row's id is known before it is written.

UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, then randomness. Rows made one after another lie side by side in
the primary key's index, and PostgreSQL 16 has no function of its own for it.
"""

import os
import secrets
from uuid import UUID

from core.clock import unix_time

_VERSION_7 = 0x7 << 76
_VARIANT_RFC = 0b10 << 62
_RANDOM = 0x0FFF << 64 | (1 << 62) - 1
_RANDOM_BYTES = 10


def new_id() -> UUID:
    """A UUIDv7: sortable by the millisecond it was made in, 74 bits of it random."""
    return new_ids(1)[0]


def new_ids(number: int) -> list[UUID]:
    """So many at once, all of this millisecond: the clock is read and randomness fetched once for all."""
    fixed = (int(unix_time() * 1000) & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_7 | _VARIANT_RFC
    randomness = os.urandom(number * _RANDOM_BYTES)
    return [
        UUID(int=fixed | int.from_bytes(randomness[start : start + _RANDOM_BYTES]) & _RANDOM)
        for start in range(0, len(randomness), _RANDOM_BYTES)
    ]


def new_token(length: int = 32) -> str:
    """An unguessable URL-safe string of `length` random bytes: reset links, API secrets, refresh tokens."""
    return secrets.token_urlsafe(length)
