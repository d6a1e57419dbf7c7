"""Secrets of programs: stored as keyed hashes, and valid beside their successor for the overlap of a rotation.

A file of its own, because OAuth clients and service accounts share it. The hash is not stretched: a secret has 256
random bits, so nobody can guess it.
"""

import hmac
from datetime import datetime
from typing import Final, Protocol, TypeVar

from billing_api.identity.oauth.token_request import TokenError, TokenRefused
from core.settings import Secrets

_DUMMY_HASH: Final = bytes(32)


class Holder(Protocol):
    @property
    def secret_hash(self) -> bytes: ...
    @property
    def previous_hash(self) -> bytes | None: ...
    @property
    def previous_until(self) -> datetime | None: ...


HolderT = TypeVar("HolderT", bound=Holder)


def stored_hash(secrets: Secrets, secret: str) -> bytes:
    return secrets.index.digest("oauth_client_secret", secret)


def authenticated(holder: HolderT | None, offered: bytes, now: datetime) -> HolderT:
    """The holder, if this is the hash of its secret. TokenRefused does not say whether the program exists.

    Always compares with two hashes, so that the time does not show it either.
    """
    current = _DUMMY_HASH if holder is None else holder.secret_hash
    previous = _DUMMY_HASH
    if holder is not None and holder.previous_hash is not None and holder.previous_until is not None:
        previous = holder.previous_hash if now < holder.previous_until else _DUMMY_HASH
    matches = hmac.compare_digest(offered, current) | hmac.compare_digest(offered, previous)
    if holder is None or not matches:
        raise TokenRefused(
            TokenError.INVALID_CLIENT, "the client is unknown or revoked, or the secret is wrong: check both"
        )
    return holder
