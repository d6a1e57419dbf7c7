"""What proves who is asking beside a password: second factors, and the secrets of OAuth clients."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import BigInt, CreatedAt, RowId, Table


class TotpFactor(Table):
    """A user's authenticator app; it counts from `confirmed_at` on. `last_step`: the newest time step that was used."""

    __tablename__ = "totp_factors"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    secret: Mapped[bytes]
    started_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[BigInt | None]
    failures: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    blocked_until: Mapped[datetime | None]


class RecoveryCode(Table):
    """One of ten that stand in for a lost authenticator app, once each. Kept as a keyed hash."""

    __tablename__ = "recovery_codes"

    code_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class SignInChallenge(Table):
    """A sign-in whose password was right and whose second factor is still owed. `password_mark` names that password."""

    __tablename__ = "sign_in_challenges"

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    password_mark: Mapped[bytes]
    tries: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class OAuthClient(Table):
    """A program that acts for its owner, within its scopes. Both secrets count until `previous_until`."""

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
