"""Permissions: what roles and OAuth scopes allow, and the principal, in whose name a request is made."""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from core.errors import SecondFactorRequired, StepUpRequired
from db.models.identity import Role

STEP_UP: Final = timedelta(minutes=5)
PASSWORD: Final = "pwd"  # noqa: S105  a method's name
ONE_TIME_PASSWORD: Final = "otp"  # noqa: S105  a method's name: an app's code, or a recovery code


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


def client_principal(client_id: UUID, owner_id: UUID, scopes: frozenset[Scope]) -> Principal:
    """A customer's program, whatever else its owner is; its sign-in is as old as can be, so that no step-up holds."""
    never = datetime.min.replace(tzinfo=UTC)
    return Principal(owner_id, Role.CUSTOMER, client_id, never, amr=(), client_id=client_id, scopes=scopes)


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
