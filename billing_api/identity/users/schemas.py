"""Users on the wire, for staff; and an account's events, for its owner."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from billing_api.access.staff_reason import StaffReason
from billing_api.access.tokens import IMPERSONATION_LIFETIME
from billing_api.web.fields import (
    AccessToken,
    CompanyName,
    CreatedAt,
    Email,
    EmailIsVerified,
    ExpiresIn,
    FullName,
    TokenType,
    UpdatedAt,
    UserId,
)
from billing_api.web.parameters import Message, Reason
from db.models.identity import Role, User
from db.models.messaging import AuditRow

UserStatus = Literal["active", "suspended", "deleted"]


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """A user as staff see it."""

    id: UserId
    email: Email
    email_verified: EmailIsVerified
    full_name: FullName
    company_name: CompanyName
    role: Role
    status: Annotated[
        UserStatus, Meta(description="`suspended`: staff closed it for now. `deleted`: its personal data is gone.")
    ]
    stripe_customer_id: Annotated[
        str | None,
        Meta(description="The customer at Stripe; null before the first purchase.", examples=["cus_R4nd0mEx4mpl3"]),
    ]
    created_at: CreatedAt
    updated_at: UpdatedAt

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
    """The role that a user is to have."""

    role: Role
    reason: Reason | None = None
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(self.reason, self.message)


class Impersonation(msgspec.Struct, frozen=True):
    """Reads what the customer sees and changes nothing. It ends with its time, or with the administrator's session."""

    access_token: AccessToken
    token_type: TokenType = "Bearer"  # noqa: S105  a scheme's name
    expires_in: ExpiresIn = int(IMPERSONATION_LIFETIME.total_seconds())


class AccountEvent(msgspec.Struct, frozen=True):
    """Something that staff did to the account."""

    id: Annotated[int, Meta(description="Rises with time.", examples=[9137])]
    at: Annotated[datetime, Meta(description="When it was done.", examples=["2026-11-23T09:30:00Z"])]
    action: Annotated[str, Meta(description="What was done.", examples=["user.suspended"])]
    message: Annotated[
        str | None,
        Meta(
            description="What staff wrote to the owner about it; null where they wrote nothing.",
            examples=["Please pay the open invoice."],
        ),
    ]

    @classmethod
    def of(cls, row: AuditRow) -> "AccountEvent":
        return cls(row.id, row.at, row.action, row.detail.get("message"))
