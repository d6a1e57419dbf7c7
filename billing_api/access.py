"""Who is asking, and what they may do: permissions, roles, access tokens. Knows nothing of HTTP.

An access token is a JWT of 15 minutes, signed with Ed25519 (RFC 8037) by a key that has a `kid`, so that keys can be
rotated with overlap.
"""

import enum
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.clock import Clock
from core.errors import StepUpRequired, Unauthenticated
from db.models.people import Role

ACCESS_LIFETIME: Final = timedelta(minutes=15)
STEP_UP: Final = timedelta(minutes=5)
_ALGORITHM: Final = "EdDSA"
_AUDIENCE: Final = "nextpanel-billing"


class Permission(enum.StrEnum):
    """What a route asks of its caller. PUBLIC asks nothing; SIGNED is checked by the service against a signature."""

    PUBLIC = "public"
    SIGNED = "signed"
    OWN_ACCOUNT = "own_account"
    PURCHASE = "purchase"
    LICENSES_VIEW = "admin.licenses.view"
    LICENSES_CHANGE = "admin.licenses.change"
    OPERATIONS_VIEW = "admin.operations.view"
    OPERATIONS_CHANGE = "admin.operations.change"
    AUDIT_VIEW = "admin.audit.view"


_CUSTOMER: Final = frozenset({Permission.OWN_ACCOUNT, Permission.PURCHASE})
_SUPPORT: Final = _CUSTOMER | {Permission.LICENSES_VIEW, Permission.OPERATIONS_VIEW}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.SUPPORT: _SUPPORT,
    Role.ADMIN: frozenset(Permission) - {Permission.PUBLIC, Permission.SIGNED},
}


class Principal(msgspec.Struct, frozen=True):
    """Somebody signed in. `authenticated_at` is when the password was last given, not when the token was made."""

    user_id: UUID
    role: Role
    session_id: UUID
    authenticated_at: datetime


class TokenIssuer:
    """Makes and reads access tokens."""

    def __init__(self, keys: Mapping[str, bytes], clock: Clock) -> None:
        """`keys`: kid → 32-byte Ed25519 seed; the first one signs."""
        self._private = {kid: Ed25519PrivateKey.from_private_bytes(seed) for kid, seed in keys.items()}
        self._current = next(iter(keys))
        self._clock = clock

    def issue(self, principal: Principal) -> str:
        now = self._clock()
        claims = {
            "sub": str(principal.user_id),
            "role": principal.role.value,
            "sid": str(principal.session_id),
            "auth_time": int(principal.authenticated_at.timestamp()),
            "aud": _AUDIENCE,
            "iat": int(now.timestamp()),
            "exp": int((now + ACCESS_LIFETIME).timestamp()),
        }
        return jwt.encode(claims, self._private[self._current], _ALGORITHM, headers={"kid": self._current})

    def read(self, token: str) -> Principal:
        """Unauthenticated where the token is not ours, not yet or no longer good, or made for somebody else."""
        try:
            key = self._private[jwt.get_unverified_header(token)["kid"]].public_key()
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                [_ALGORITHM],
                audience=_AUDIENCE,
                options={
                    "require": ["sub", "role", "sid", "auth_time", "exp", "iat"],
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
            self._check_instants(claims)
            return Principal(
                UUID(claims["sub"]),
                Role(claims["role"]),
                UUID(claims["sid"]),
                datetime.fromtimestamp(claims["auth_time"], self._clock().tzinfo),
            )
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError):
            raise Unauthenticated("the access token is not valid or has expired; refresh it or sign in") from None

    def _check_instants(self, claims: Mapping[str, Any]) -> None:
        # By our own clock, with no leeway: one machine makes and reads these.
        now = self._clock().timestamp()
        if not claims["iat"] - 1 <= now < claims["exp"]:
            raise jwt.ExpiredSignatureError


def require_step_up(principal: Principal, now: datetime) -> None:
    """For what must not follow from a forgotten browser: the password was given within the last five minutes."""
    if now - principal.authenticated_at > STEP_UP:
        raise StepUpRequired("sign in again: this needs a login within the last 5 minutes")
