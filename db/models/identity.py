"""Identity tables: users, their sessions, mailed tokens, second factors and OAuth clients."""

import enum
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, func, text
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm import Mapped, mapped_column, validates

from core.mailbox import mailbox_key
from db.models.columns import BigInt, CreatedAt, RowId, Table, UpdatedAt, enum_type


class Role(enum.StrEnum):
    """What a user may do: customers their own things, support staff read, administrators change."""

    CUSTOMER = "customer"
    SUPPORT = "support"
    ADMIN = "admin"


def _key_of_email(context: DefaultExecutionContext) -> str:
    return mailbox_key(context.get_current_parameters()["email"])  # type: ignore[no-untyped-call]  # SQLAlchemy's own


class User(Table):
    """A person with a login. The e-mail address is kept as typed, and compared by `email_key` (core/mailbox.py)."""

    __tablename__ = "users"
    __table_args__ = (
        Index("ix_users_deleted_at", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
        Index(
            "ix_users_former_stripe_customer_ids",
            "former_stripe_customer_ids",
            postgresql_using="gin",
            postgresql_ops={"former_stripe_customer_ids": "jsonb_path_ops"},
        ),
        Index("ix_users_created_at", "created_at", "id"),
    )

    id: Mapped[RowId]
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True, default=_key_of_email)
    """Set together with `email` by assignment. An UPDATE statement must set both."""
    password_hash: Mapped[str] = mapped_column(deferred=True, deferred_raiseload=True)  # asked for by sign-in alone
    full_name: Mapped[str]
    company_name: Mapped[str | None]
    locale: Mapped[str | None]
    """A language tag (BCP 47), as the user chose it; NULL: not chosen. The same for `time_zone` (IANA)."""
    time_zone: Mapped[str | None]
    stripe_customer_id: Mapped[str | None] = mapped_column(unique=True)
    former_stripe_customer_ids: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    """Customers that were deleted at Stripe, oldest first. Their events and subscriptions still belong to this user."""
    role: Mapped[Role] = mapped_column(enum_type(Role, "user_role"), default=Role.CUSTOMER)
    email_verified_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    deleted_at: Mapped[datetime | None]
    """When personal data was erased; a trigger keeps it so. Rows that refer to this one stay, for tax law."""
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]

    @validates("email")
    def _follow(self, _name: str, email: str) -> str:
        self.email_key = mailbox_key(email)
        return email


PERSON_TEXT: Final = func.np_person_text(User.email_key, User.email, User.full_name, User.company_name, type_=Text())
"""All that a person is looked for by, folded: db/migrations/versions/0029_search.sql."""

Index(
    "ix_users_person_text",
    PERSON_TEXT.label("person_text"),
    postgresql_using="gin",
    postgresql_ops={"person_text": "gin_trgm_ops"},
)


class Session(Table):
    """One sign-in: a family of refresh tokens, of which only the newest is valid. Stored as hashes."""

    __tablename__ = "sessions"

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    refresh_hash: Mapped[bytes] = mapped_column(unique=True)
    previous_hash: Mapped[bytes | None] = mapped_column(index=True)
    rotated_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    user_agent: Mapped[str | None]
    amr: Mapped[list[str]] = mapped_column(server_default=text("'[\"pwd\"]'"))  # authentication methods, RFC 8176
    address: Mapped[str | None]
    last_seen_at: Mapped[CreatedAt]
    created_at: Mapped[CreatedAt]


class TokenPurpose(enum.StrEnum):
    VERIFY_EMAIL = "verify_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105  a purpose's name


class OneTimeToken(Table):
    """A token that was mailed to a user: valid once, until it expires. Stored as a keyed hash."""

    __tablename__ = "one_time_tokens"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    purpose: Mapped[TokenPurpose] = mapped_column(enum_type(TokenPurpose, "token_purpose"))
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class Registration(Table):
    """The data of one registration, used when the link in its own mail is opened, and by no other link."""

    __tablename__ = "registrations"

    token_hash: Mapped[bytes] = mapped_column(
        ForeignKey("one_time_tokens.token_hash", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    email: Mapped[str]
    """As typed for this registration; it may be another spelling of the account's address."""
    password_hash: Mapped[str]
    full_name: Mapped[str]
    company_name: Mapped[str | None]
    created_at: Mapped[CreatedAt]


class EmailChange(Table):
    """A change of address: requested, confirmed from the new address, undone from the old one. Tokens are hashed."""

    __tablename__ = "email_changes"

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    old_email: Mapped[str]
    new_email: Mapped[str]
    confirm_hash: Mapped[bytes] = mapped_column(unique=True)
    undo_hash: Mapped[bytes | None] = mapped_column(unique=True)
    expires_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    undo_until: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    """When it was undone, dropped, or replaced by another change. Its links have no effect any more."""
    created_at: Mapped[CreatedAt]


class GuessCount(Table):
    """Login attempts (guesses) of one device at one account, by keyed hashes: billing_api/identity/login_throttle."""

    __tablename__ = "guess_counts"

    account: Mapped[bytes] = mapped_column(primary_key=True)
    guesser: Mapped[bytes] = mapped_column(primary_key=True)
    guesses: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    counted_at: Mapped[datetime] = mapped_column(index=True)
    not_before: Mapped[datetime]
    refused_at: Mapped[datetime | None]


class TotpFactor(Table):
    """A user's authenticator app, in use from `confirmed_at` on. `last_step`: the newest time step that was used."""

    __tablename__ = "totp_factors"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    secret: Mapped[bytes]
    started_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[BigInt | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    blocked_until: Mapped[datetime | None]


class RecoveryCode(Table):
    """One of ten codes that replace a lost authenticator app, once each. Stored as a keyed hash."""

    __tablename__ = "recovery_codes"

    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class SignInChallenge(Table):
    """A sign-in with a correct password that still needs the second factor. `password_mark` identifies the password."""

    __tablename__ = "sign_in_challenges"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    password_mark: Mapped[bytes]
    tries: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class OAuthClient(Table):
    """A program that acts for its owner, within its scopes. The previous secret is valid until `previous_until`."""

    __tablename__ = "oauth_clients"

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    secret_hash: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)  # asked for by the token route
    previous_hash: Mapped[bytes | None] = mapped_column(deferred=True, deferred_raiseload=True)
    previous_until: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class ServiceAccount(Table):
    """A program of the seller's own, which acts as itself within scopes of staff.

    The previous secret is valid until `previous_until`. The name never changes, because the audit trail calls the
    account by it. `networks`: those it may be used from, in CIDR notation; an empty list is any.
    """

    __tablename__ = "service_accounts"
    __table_args__ = (
        Index("uq_service_accounts_live_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[RowId]
    name: Mapped[str]
    scopes: Mapped[list[str]]
    networks: Mapped[list[str]] = mapped_column(server_default=text("'[]'"), default=list)
    secret_hash: Mapped[bytes] = mapped_column(deferred=True, deferred_raiseload=True)  # asked for by the token route
    previous_hash: Mapped[bytes | None] = mapped_column(deferred=True, deferred_raiseload=True)
    previous_until: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None]
    created_at: Mapped[CreatedAt]
