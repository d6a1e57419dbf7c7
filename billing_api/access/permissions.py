"""Who is asking, and what they may do: permissions, roles, scopes, access tokens. Knows nothing of HTTP.

An access token is a JWT of 15 minutes, signed with Ed25519 (RFC 8037) by a key that has a `kid`, so that keys can be
rotated with overlap. There are two kinds, told apart by `typ`, and neither is ever read as the other: a person's names
a user and a session, a client's (RFC 9068) names an OAuth client and its scopes.
"""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.clock import Clock
from core.errors import SecondFactorRequired, StepUpRequired, Unauthenticated
from core.ids import new_id
from db.models.identity import Role

ACCESS_LIFETIME: Final = timedelta(minutes=15)
IMPERSONATION_LIFETIME: Final = timedelta(minutes=5)
STEP_UP: Final = timedelta(minutes=5)
PASSWORD: Final = "pwd"  # noqa: S105  a method's name
ONE_TIME_PASSWORD: Final = "otp"  # noqa: S105  a method's name: an app's code, or a recovery code
_ALGORITHM: Final = "EdDSA"
_AUDIENCE: Final = "nextpanel-billing"
_PERSONS: Final = "JWT"
_CLIENTS: Final = "at+jwt"


class Permission(enum.StrEnum):
    """What a route asks of its caller. PUBLIC asks nothing; SIGNED is checked by the service against a signature.

    OWN_CREDENTIALS: what lets somebody in, such as passwords, second factors, keys and sessions.
    """

    PUBLIC = "public"
    SIGNED = "signed"
    OWN_ACCOUNT = "own_account"
    OWN_CREDENTIALS = "own_credentials"
    OWN_LICENSES_READ = "own.licenses.read"
    OWN_USAGE_READ = "own.usage.read"
    OWN_SUBSCRIPTIONS_READ = "own.subscriptions.read"
    OWN_INVOICES_READ = "own.invoices.read"
    OWN_PAYMENTS_READ = "own.payments.read"
    PURCHASE = "purchase"
    LICENSES_VIEW = "admin.licenses.view"
    LICENSES_CHANGE = "admin.licenses.change"
    OPERATIONS_VIEW = "admin.operations.view"
    OPERATIONS_CHANGE = "admin.operations.change"
    AUDIT_VIEW = "admin.audit.view"
    USERS_VIEW = "admin.users.view"
    USERS_CHANGE = "admin.users.change"
    USERS_IMPERSONATE = "admin.users.impersonate"

    @property
    def is_for_staff(self) -> bool:
        return self.value.startswith("admin.")


class Scope(enum.StrEnum):
    """What an OAuth client may be allowed. Each opens one permission; that of changing an account is among none."""

    LICENSES_READ = "licenses:read"
    USAGE_READ = "usage:read"
    SUBSCRIPTIONS_READ = "subscriptions:read"
    INVOICES_READ = "invoices:read"
    PAYMENTS_READ = "payments:read"


SCOPES: Final[Mapping[Scope, Permission]] = {
    Scope.LICENSES_READ: Permission.OWN_LICENSES_READ,
    Scope.USAGE_READ: Permission.OWN_USAGE_READ,
    Scope.SUBSCRIPTIONS_READ: Permission.OWN_SUBSCRIPTIONS_READ,
    Scope.INVOICES_READ: Permission.OWN_INVOICES_READ,
    Scope.PAYMENTS_READ: Permission.OWN_PAYMENTS_READ,
}
LOOKED_AT: Final = frozenset({Permission.OWN_ACCOUNT, *SCOPES.values()})
"""What somebody who impersonates a customer may read."""
_CUSTOMER: Final = LOOKED_AT | {Permission.OWN_CREDENTIALS, Permission.PURCHASE}
_SUPPORT: Final = _CUSTOMER | {Permission.LICENSES_VIEW, Permission.OPERATIONS_VIEW, Permission.USERS_VIEW}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.SUPPORT: _SUPPORT,
    Role.ADMIN: frozenset(Permission) - {Permission.PUBLIC, Permission.SIGNED},
}


class Principal(msgspec.Struct, frozen=True):
    """Somebody signed in. `authenticated_at` is when the password was last given, not when the token was made.

    `amr`: how he proved himself then, in the words of RFC 8176. With a `client_id` it is a program that acts for
    `user_id`, within `scopes`; it has no session, so the client's id stands there, and it never gave a password.

    An administrator who looks at what a customer sees is that customer here; `actor_id` says who it really is, and the
    session is the administrator's own: with it ends what he may do as anybody.
    """

    user_id: UUID
    role: Role
    session_id: UUID
    authenticated_at: datetime
    amr: tuple[str, ...] = (PASSWORD,)
    client_id: UUID | None = None
    scopes: frozenset[Scope] = frozenset()
    actor_id: UUID | None = None

    @property
    def signed_in_id(self) -> UUID:
        """Whose session it is."""
        return self.actor_id or self.user_id


class ClientToken(msgspec.Struct, frozen=True):
    """What a client's token says. For whom that acts is looked up, each time."""

    client_id: UUID
    scopes: frozenset[Scope]


def client_principal(client_id: UUID, owner_id: UUID, scopes: frozenset[Scope]) -> Principal:
    """A customer's program, whatever else its owner is; its sign-in is as old as can be, so that no step-up holds."""
    never = datetime.min.replace(tzinfo=UTC)
    return Principal(owner_id, Role.CUSTOMER, client_id, never, amr=(), client_id=client_id, scopes=scopes)


class TokenIssuer:
    """Makes and reads access tokens."""

    def __init__(self, keys: Mapping[str, bytes], clock: Clock) -> None:
        """`keys`: kid → 32-byte Ed25519 seed; the first one signs."""
        self._private = {kid: Ed25519PrivateKey.from_private_bytes(seed) for kid, seed in keys.items()}
        self._current = next(iter(keys))
        self._clock = clock

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
        return self._signed(claims, _PERSONS, IMPERSONATION_LIFETIME if principal.actor_id else ACCESS_LIFETIME)

    def issue_to_client(self, token: ClientToken) -> str:
        """In the form of RFC 9068, where `sub` is the client itself."""
        client_id = str(token.client_id)
        claims = {
            "sub": client_id,
            "client_id": client_id,
            "scope": " ".join(sorted(token.scopes)),
            "jti": new_id().hex,
        }
        return self._signed(claims, _CLIENTS, ACCESS_LIFETIME)

    def read(self, token: str) -> Principal:
        """A person's. Unauthenticated where it is not ours, not yet or no longer good, or of another kind."""
        try:
            claims = self._verified(token, _PERSONS, ["sub", "role", "sid", "auth_time", "amr"])
            return Principal(
                UUID(claims["sub"]),
                Role(claims["role"]),
                UUID(claims["sid"]),
                datetime.fromtimestamp(claims["auth_time"], self._clock().tzinfo),
                amr=msgspec.convert(claims["amr"], tuple[str, ...]),
                actor_id=UUID(claims["act"]["sub"]) if "act" in claims else None,
            )
        except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError, ValueError, TypeError):
            raise Unauthenticated("the access token is not valid or has expired; refresh it or sign in") from None

    def read_client(self, token: str) -> ClientToken | None:
        """A client's; None where it says that it is a person's. Unauthenticated as with `read`."""
        try:
            if jwt.get_unverified_header(token).get("typ") != _CLIENTS:
                return None
            claims = self._verified(token, _CLIENTS, ["sub", "client_id", "scope"])
            return ClientToken(UUID(claims["client_id"]), frozenset(map(Scope, claims["scope"].split())))
        except (jwt.InvalidTokenError, AttributeError, KeyError, ValueError, TypeError):
            raise Unauthenticated("the access token is not valid or has expired; get another at oauth/token") from None

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
        self._check_instants(claims)
        return claims

    def _check_instants(self, claims: Mapping[str, Any]) -> None:
        # By our own clock, with no leeway: one machine makes and reads these.
        now = self._clock().timestamp()
        if not claims["iat"] - 1 <= now < claims["exp"]:
            raise jwt.ExpiredSignatureError


def may(principal: Principal, needed: Permission, *, reads: bool) -> bool:
    """Whether this caller may do it: his role allows it and, of a program, one of its scopes opens it.

    Somebody who impersonates a customer only looks, and at no credentials. So whatever is done in a customer's name was
    done by the customer, and a route that is forgotten stays shut.
    """
    if principal.actor_id is not None:
        return reads and needed in LOOKED_AT and principal.role is Role.CUSTOMER
    is_open = principal.client_id is None or needed in {SCOPES[scope] for scope in principal.scopes}
    return is_open and needed in PERMISSIONS[principal.role]


def require_step_up(principal: Principal, now: datetime) -> None:
    """For what must not follow from a forgotten browser: the password was given within the last five minutes.

    Routes that need it say so with `step_up=True`; the guard in auth.py asks.
    """
    if now - principal.authenticated_at > STEP_UP:
        raise StepUpRequired("POST auth/step-up or sign in again: this needs the password within the last 5 minutes")


def require_second_factor(principal: Principal) -> None:
    """For what one stolen password must not be enough for."""
    if ONE_TIME_PASSWORD not in principal.amr:
        raise SecondFactorRequired(
            "sign in with a second factor: set one up under me/mfa/totp, then POST auth/step-up with its code"
        )
