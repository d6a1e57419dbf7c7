"""Access tokens: JWTs that live 15 minutes, signed with Ed25519 (RFC 8037).

Each signing key has a `kid`, so that keys can be rotated with an overlap. There are three kinds of tokens. A user's
token names a user and a session. A client's token (RFC 9068) names an OAuth client and its scopes. A service account's
token names the account and its scopes of staff. `typ` keeps them apart, and none is ever accepted as another.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from billing_api.access.permissions import Principal, Scope, StaffScope
from core.clock import Clock
from core.errors import InvalidToken
from core.ids import new_id
from db.models.identity import Role

ACCESS_LIFETIME: Final = timedelta(minutes=15)
IMPERSONATION_LIFETIME: Final = timedelta(minutes=5)

_ALGORITHM: Final = "EdDSA"
_MOST_REMEMBERED: Final = 10_000
"""Verified tokens in memory, about a kilobyte each. Beyond that the one that was not used for longest is forgotten."""
_AUDIENCE: Final = "nextpanel-billing"
_USER_TYPE: Final = "JWT"
_CLIENT_TYPE: Final = "at+jwt"
_SERVICE_TYPE: Final = "service-account+jwt"


ScopeT = TypeVar("ScopeT", Scope, StaffScope)


class ClientToken(msgspec.Struct, frozen=True):
    """What a client's token says. The user that the client acts for is looked up at each use."""

    client_id: UUID
    scopes: frozenset[Scope]


class ServiceAccountToken(msgspec.Struct, frozen=True):
    """What a service account's token says. Which of the scopes the account still has is looked up at each use."""

    account_id: UUID
    scopes: frozenset[StaffScope]


Holder = Principal | ClientToken | ServiceAccountToken
"""Whom a token names."""


class TokenIssuer:
    """Signs and verifies access tokens."""

    def __init__(self, keys: Mapping[str, bytes], clock: Clock) -> None:
        """`keys`: kid → 32-byte Ed25519 seed; the first one signs."""
        self._private = {kid: Ed25519PrivateKey.from_private_bytes(seed) for kid, seed in keys.items()}
        self._current = next(iter(keys))
        self._clock = clock
        self._remembered: dict[bytes, tuple[Holder, Mapping[str, Any]]] = {}
        """By the token's digest, so that no token lies in memory: whom it names, and its claims."""

    def issue(self, principal: Principal) -> str:
        claims: dict[str, Any] = {
            "sub": str(principal.user_id),
            "role": principal.role.value,
            "sid": str(principal.session_id),
            "auth_time": int(principal.authenticated_at.timestamp()),
            "amr": principal.amr,
        }
        if principal.actor_id:
            claims["act"] = {"sub": str(principal.actor_id)}  # RFC 8693, 4.1
        return self._signed(claims, _USER_TYPE, IMPERSONATION_LIFETIME if principal.actor_id else ACCESS_LIFETIME)

    def issue_to_client(self, token: ClientToken) -> str:
        """As RFC 9068 says: `sub` is the client itself."""
        return self._signed(_claims(token.client_id, token.scopes), _CLIENT_TYPE, ACCESS_LIFETIME)

    def issue_to_service_account(self, token: ServiceAccountToken) -> str:
        return self._signed(_claims(token.account_id, token.scopes), _SERVICE_TYPE, ACCESS_LIFETIME)

    def holder(self, token: str) -> Holder:
        """Whom a token of any kind names. InvalidToken as in `read`.

        A token comes with each request of its user, and verifying it costs more than the rest of the way to the
        handler. So a verified token is remembered until it ends.
        """
        digest = hashlib.sha256(token.encode()).digest()
        remembered = self._remembered.pop(digest, None)
        if remembered is None or not self._is_now(remembered[1]):
            holder = self.read_client(token) or self.read_service_account(token) or self.read(token)
            remembered = holder, jwt.decode(token, options={"verify_signature": False})
            if len(self._remembered) >= _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = remembered  # as the one that was used last
        return remembered[0]

    def read(self, token: str) -> Principal:
        """A user's token. InvalidToken where it is not ours, not valid now, or of the other kind."""
        try:
            claims = self._verified(token, _USER_TYPE, ["sub", "role", "sid", "auth_time", "amr"])
            return Principal(
                UUID(claims["sub"]),
                Role(claims["role"]),
                UUID(claims["sid"]),
                datetime.fromtimestamp(claims["auth_time"], self._clock().tzinfo),
                amr=msgspec.convert(claims["amr"], tuple[str, ...]),
                actor_id=UUID(claims["act"]["sub"]) if "act" in claims else None,
            )
        except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError, ValueError, TypeError):
            raise InvalidToken(
                "the access token is invalid or has expired: refresh it with POST auth/refresh, or sign in with POST "
                "auth/login"
            ) from None

    def read_client(self, token: str) -> ClientToken | None:
        """A client's token; None where it does not say that it is one. InvalidToken as in `read`."""
        if not _says(token, _CLIENT_TYPE):
            return None
        client_id, scopes = self._program(token, _CLIENT_TYPE, Scope)
        return ClientToken(client_id, scopes)

    def read_service_account(self, token: str) -> ServiceAccountToken | None:
        """The same of a service account's."""
        if not _says(token, _SERVICE_TYPE):
            return None
        account_id, scopes = self._program(token, _SERVICE_TYPE, StaffScope)
        return ServiceAccountToken(account_id, scopes)

    def _program(self, token: str, kind: str, scope: type[ScopeT]) -> tuple[UUID, frozenset[ScopeT]]:
        try:
            claims = self._verified(token, kind, ["sub", "client_id", "scope"])
            return UUID(claims["client_id"]), frozenset(map(scope, claims["scope"].split()))
        except (jwt.InvalidTokenError, AttributeError, KeyError, ValueError, TypeError):
            raise InvalidToken(
                "the access token is invalid or has expired: get a new one with POST oauth/token"
            ) from None

    def _signed(self, claims: Mapping[str, Any], kind: str, lifetime: timedelta) -> str:
        now = self._clock()
        instants = {"iat": int(now.timestamp()), "exp": int((now + lifetime).timestamp())}
        headers = {"kid": self._current, "typ": kind}
        key = self._private[self._current]
        return jwt.encode({**claims, "aud": _AUDIENCE, **instants}, key, _ALGORITHM, headers=headers)

    def _verified(self, token: str, kind: str, needed: list[str]) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if header.get("typ") != kind:
            raise jwt.InvalidTokenError
        claims: dict[str, Any] = jwt.decode(
            token,
            self._private[header["kid"]].public_key(),
            [_ALGORITHM],
            audience=_AUDIENCE,
            options={"require": [*needed, "exp", "iat"], "verify_exp": False, "verify_iat": False},
        )
        if not self._is_now(claims):
            raise jwt.ExpiredSignatureError
        return claims

    def _is_now(self, claims: Mapping[str, Any]) -> bool:
        # Our own clock, and no leeway: the machine that signs a token also verifies it.
        is_now: bool = claims["iat"] - 1 <= self._clock().timestamp() < claims["exp"]
        return is_now


def _claims(program_id: UUID, scopes: frozenset[Any]) -> dict[str, Any]:
    """As RFC 9068 says of a client that acts for itself."""
    name = str(program_id)
    return {"sub": name, "client_id": name, "scope": " ".join(sorted(scopes)), "jti": new_id().hex}


def _says(token: str, kind: str) -> bool:
    """What the unverified header says. Of a text that is no JWT at all, the answer is a person's: sign in."""
    try:
        return bool(jwt.get_unverified_header(token).get("typ") == kind)
    except (jwt.InvalidTokenError, AttributeError, ValueError):
        return False
