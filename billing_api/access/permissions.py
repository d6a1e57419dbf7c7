"""Permissions: what roles and the scopes of programs allow, and the principal in whose name a request is made."""

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
    """What a route requires of its caller. PUBLIC requires nothing; for SIGNED the service checks a signature.

    OWN_CREDENTIALS: everything that gives access to the account: passwords, second factors, keys and sessions.
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
    PLATFORM_KEYS = "admin.platform_keys"
    SERVICE_ACCOUNTS = "admin.service_accounts"
    USERS_VIEW = "admin.users.view"
    BILLING_VIEW = "admin.billing.view"
    BILLING_CHANGE = "admin.billing.change"
    NOTES_VIEW = "admin.notes.view"
    NOTES_CHANGE = "admin.notes.change"
    USERS_CHANGE = "admin.users.change"
    USERS_IMPERSONATE = "admin.users.impersonate"

    @property
    def is_for_staff(self) -> bool:
        return self.value.startswith("admin.")


class Scope(enum.StrEnum):
    """What an OAuth client may be allowed. Each scope gives one permission; none lets a client change an account."""

    LICENSES_READ = "licenses:read"
    USAGE_READ = "usage:read"
    SUBSCRIPTIONS_READ = "subscriptions:read"
    INVOICES_READ = "invoices:read"
    PAYMENTS_READ = "payments:read"


class StaffScope(enum.StrEnum):
    """What a service account may be allowed. Each scope gives one permission of staff.

    Some texts are those of `Scope` and mean more here, so the two kinds are never mixed. There is no scope for
    what makes or raises somebody's rights: users, roles, impersonation, platform keys, service accounts. Notes are
    written by people.
    """

    LICENSES_READ = "licenses:read"
    LICENSES_WRITE = "licenses:write"
    CUSTOMERS_READ = "customers:read"
    BILLING_READ = "billing:read"
    OPERATIONS_READ = "operations:read"
    OPERATIONS_WRITE = "operations:write"
    AUDIT_READ = "audit:read"


SCOPES: Final[Mapping[Scope, Permission]] = {
    Scope.LICENSES_READ: Permission.OWN_LICENSES_READ,
    Scope.USAGE_READ: Permission.OWN_USAGE_READ,
    Scope.SUBSCRIPTIONS_READ: Permission.OWN_SUBSCRIPTIONS_READ,
    Scope.INVOICES_READ: Permission.OWN_INVOICES_READ,
    Scope.PAYMENTS_READ: Permission.OWN_PAYMENTS_READ,
}
STAFF_SCOPES: Final[Mapping[StaffScope, Permission]] = {
    StaffScope.LICENSES_READ: Permission.LICENSES_VIEW,
    StaffScope.LICENSES_WRITE: Permission.LICENSES_CHANGE,
    StaffScope.CUSTOMERS_READ: Permission.USERS_VIEW,
    StaffScope.BILLING_READ: Permission.BILLING_VIEW,
    StaffScope.OPERATIONS_READ: Permission.OPERATIONS_VIEW,
    StaffScope.OPERATIONS_WRITE: Permission.OPERATIONS_CHANGE,
    StaffScope.AUDIT_READ: Permission.AUDIT_VIEW,
}
IMPERSONATION: Final = frozenset({Permission.OWN_ACCOUNT, *SCOPES.values()})
"""What an administrator who impersonates a customer may read."""
_CUSTOMER: Final = IMPERSONATION | {Permission.OWN_CREDENTIALS, Permission.PURCHASE}
_SUPPORT: Final = _CUSTOMER | {
    Permission.LICENSES_VIEW,
    Permission.OPERATIONS_VIEW,
    Permission.USERS_VIEW,
    Permission.BILLING_VIEW,
    Permission.NOTES_VIEW,
    Permission.NOTES_CHANGE,
}
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.CUSTOMER: _CUSTOMER,
    Role.SUPPORT: _SUPPORT,
    Role.ADMIN: frozenset(Permission) - {Permission.PUBLIC, Permission.SIGNED},
}


class Principal(msgspec.Struct, frozen=True):
    """A signed-in user. `authenticated_at` is when the password was last given, not when the token was made.

    `amr`: the methods that were used then (RFC 8176).
    With a `client_id` it is a program that acts for `user_id` within `scopes`. It has no session, so `session_id` is
    the client's id, and it never gave a password.
    With `staff_scopes` it is a service account, which acts for nobody but itself: all three ids are its own.
    An administrator who impersonates a customer appears as that customer; `actor_id` is the administrator. The session
    is the administrator's own, so the impersonation ends with it.
    """

    user_id: UUID
    role: Role
    session_id: UUID
    authenticated_at: datetime
    amr: tuple[str, ...] = (PASSWORD,)
    client_id: UUID | None = None
    scopes: frozenset[Scope] = frozenset()
    actor_id: UUID | None = None
    staff_scopes: frozenset[StaffScope] | None = None

    @property
    def is_service_account(self) -> bool:
        return self.staff_scopes is not None

    @property
    def signed_in_id(self) -> UUID:
        """The owner of the session: the administrator during an impersonation, else the user."""
        return self.actor_id or self.user_id


def client_principal(client_id: UUID, owner_id: UUID, scopes: frozenset[Scope]) -> Principal:
    """A program has a customer's rights even where its owner is staff. It can never pass a step-up."""
    never = datetime.min.replace(tzinfo=UTC)
    return Principal(owner_id, Role.CUSTOMER, client_id, never, amr=(), client_id=client_id, scopes=scopes)


def service_account_principal(account_id: UUID, scopes: frozenset[StaffScope]) -> Principal:
    """A service account has no role; the least one stands in its place. It can never pass a step-up."""
    never = datetime.min.replace(tzinfo=UTC)
    return Principal(account_id, Role.CUSTOMER, account_id, never, amr=(), client_id=account_id, staff_scopes=scopes)


def may(principal: Principal, needed: Permission, *, reads: bool) -> bool:
    """Authorization: the role must have the permission and, for a program, one of its scopes must give it too.

    An impersonation only reads, and it reads no credentials. So every change in a customer's name was made by the
    customer. The list names what is allowed: a route that nobody thought of stays closed.
    """
    if principal.staff_scopes is not None:
        return needed in permissions_of(principal)
    if principal.actor_id is not None:
        return reads and needed in IMPERSONATION and principal.role is Role.CUSTOMER
    in_scope = principal.client_id is None or needed in {SCOPES[scope] for scope in principal.scopes}
    return in_scope and needed in PERMISSIONS[principal.role]


def missing_scope(principal: Principal, needed: Permission) -> Scope | StaffScope | None:
    """The scope that would open the route to this program; None where none would, or where no program asks."""
    if principal.staff_scopes is not None:
        return next((scope for scope, permission in STAFF_SCOPES.items() if permission is needed), None)
    if principal.client_id is None or needed not in PERMISSIONS[principal.role]:
        return None
    wanted = next((scope for scope, permission in SCOPES.items() if permission is needed), None)
    return None if wanted in principal.scopes else wanted


def permissions_of(principal: Principal) -> frozenset[Permission]:
    """Everything that `may` allows this user or service account. In a customer's place: for reading alone."""
    if principal.staff_scopes is not None:
        return frozenset(STAFF_SCOPES[scope] for scope in principal.staff_scopes)
    return IMPERSONATION if principal.actor_id is not None else PERMISSIONS[principal.role]


def require_step_up(principal: Principal, now: datetime) -> None:
    """StepUpRequired unless the password was given within the last five minutes.

    It protects what a browser that was left open must not be able to do. Routes declare it with `step_up=True`; the
    guard (billing_api/server/guard.py) enforces it.
    """
    if now - principal.authenticated_at > STEP_UP:
        raise StepUpRequired(
            "the password was given more than 5 minutes ago: POST auth/step-up with it, or sign in again with POST "
            "auth/login"
        )


def require_second_factor(principal: Principal) -> None:
    """SecondFactorRequired unless the session has given one: a stolen password alone must not be enough."""
    if ONE_TIME_PASSWORD not in principal.amr:
        raise SecondFactorRequired(
            "this needs a second factor: set one up under me/mfa/totp, then POST auth/step-up with its code"
        )
