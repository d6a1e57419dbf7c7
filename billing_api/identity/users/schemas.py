"""Users on the wire, for staff; and an account's events, for its owner."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from billing_api.access.staff_reason import StaffReason
from billing_api.access.tokens import IMPERSONATION_LIFETIME
from billing_api.web.parameters import Message, Reason
from db.models.identity import Role, User
from db.models.messaging import AuditRow

UserStatus = Literal["active", "suspended", "deleted"]


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    email: str
    email_verified: bool
    full_name: str
    company_name: str | None
    role: Role
    status: UserStatus
    stripe_customer_id: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, user: User) -> "UserView":
        return cls(
            id=user.id,
            email=user.email,
            email_verified=user.email_verified_at is not None,
            full_name=user.full_name,
            company_name=user.company_name,
            role=user.role,
            status=_status(user),
            stripe_customer_id=user.stripe_customer_id,
            created_at=user.created_at,
            updated_at=user.updated_at,
        )


def _status(user: User) -> UserStatus:
    if user.deleted_at is not None:
        return "deleted"
    return "active" if user.is_active else "suspended"


class RoleGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role
    reason: Reason | None = None
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(self.reason, self.message)


class Impersonation(msgspec.Struct, frozen=True):
    """Reads what the customer sees and changes nothing. It ends with its time, or with the administrator's session."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme's name
    expires_in: int = int(IMPERSONATION_LIFETIME.total_seconds())


class AccountEvent(msgspec.Struct, frozen=True):
    """Something that staff did to the account. `message`: what they wrote to the owner about it, or null."""

    id: int
    at: datetime
    action: str
    message: str | None

    @classmethod
    def of(cls, row: AuditRow) -> "AccountEvent":
        return cls(row.id, row.at, row.action, row.detail.get("message"))
