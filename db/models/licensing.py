"""Licensing tables: plans, licenses, their API keys, activation tokens and offline leases."""

import enum
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from core.licensing.plan import LIMITS, Limits
from core.licensing.state import Cause, Status
from db.clock import NOW
from db.models.columns import BigInt, CreatedAt, RowId, Table, UpdatedAt, enum_type


class LicenseType(enum.StrEnum):
    """The plan's kind."""

    STARTER = "starter"
    PROFESSIONAL = "professional"
    ENTERPRISE = "enterprise"


class Interval(enum.StrEnum):
    """How often a subscription renews."""

    MONTH = "month"
    YEAR = "year"


class _Limited:
    """The limit columns, the same on a plan and on a license; NULL is unlimited."""

    @property
    def limits(self) -> Limits:
        return Limits(tuple(getattr(self, name) for name in LIMITS))

    @limits.setter
    def limits(self, limits: Limits) -> None:
        for name, limit in limits.by_name().items():
            setattr(self, name, limit)


for _name in LIMITS:
    setattr(_Limited, _name, mapped_column(Integer))


class Plan(_Limited, Table):
    """A plan that is sold. Editing it changes no license: each license has its own copy of the limits."""

    __tablename__ = "plans"
    __table_args__ = (CheckConstraint("trial_days BETWEEN 1 AND 730", name="trial_days"),)

    id: Mapped[RowId]
    code: Mapped[str] = mapped_column(unique=True)
    """By which staff and programs name it; it never changes."""
    name: Mapped[str] = mapped_column(unique=True)
    license_type: Mapped[LicenseType] = mapped_column(enum_type(LicenseType, "license_type"))
    description: Mapped[str]
    price_monthly: Mapped[int]
    price_yearly: Mapped[int]
    currency: Mapped[str] = mapped_column(default="usd")
    features: Mapped[dict[str, Any]]
    trial_days: Mapped[int | None]
    """For how many days a new customer may try it; None: not at all."""
    currency_prices: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"), default=dict)
    """Its prices in other currencies than its own, in minor units: {"eur": {"month": 2700, "year": 27000}}."""
    stripe_price_id_monthly: Mapped[str | None]
    stripe_price_id_yearly: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class PlanPrice(Table):
    """Every Stripe price that a plan ever had: subscriptions keep the price at which they were sold."""

    __tablename__ = "plan_prices"

    stripe_price_id: Mapped[str] = mapped_column(primary_key=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"), index=True)
    interval: Mapped[Interval] = mapped_column(enum_type(Interval, "billing_interval"))
    created_at: Mapped[CreatedAt]


class ProvisioningState(enum.StrEnum):
    """State of the account on NextPanel. `failed`: NextPanel refused it; staff can have it tried again."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class FingerprintPolicy(enum.StrEnum):
    """Whether a panel must send its fingerprint with each validation. `none`: it is compared if it is sent."""

    NONE = "none"
    REQUIRED = "required"


class License(_Limited, Table):
    """The right to run NextPanel, with its effective limits. `version` rises with every change.

    `license_key` is ciphertext, found by `license_key_hash`. `checkout_id` is unique: one purchase, one license. Staff
    set `limit_overrides` (core/licensing/overrides.py) and `extended_until`; both outlast plan changes and renewals.
    `account_order` is the first request to NextPanel; every retry sends the same.
    """

    __tablename__ = "licenses"
    __table_args__ = (
        UniqueConstraint("id", "user_id"),
        Index("ix_licenses_created_at", "created_at", "id"),
        Index("ix_licenses_lapsing", "expiry_date", postgresql_where=text("status = 'active' AND NOT auto_renew")),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    plan_id: Mapped[UUID] = mapped_column(ForeignKey("plans.id"))
    checkout_id: Mapped[UUID | None] = mapped_column(ForeignKey("checkout_sessions.id"), unique=True)
    label: Mapped[str | None]
    """The owner's own name for it. Its change raises no version: nothing in Redis knows it."""
    license_key: Mapped[bytes]
    license_key_hash: Mapped[bytes] = mapped_column(unique=True)
    key_hint: Mapped[str | None] = mapped_column(String(4), index=True)
    """The key's last four symbols, by which people tell keys apart; NULL until workers/commands/fill_key_hints.py."""
    license_type: Mapped[LicenseType] = mapped_column(enum_type(LicenseType, "license_type"))
    status: Mapped[Status] = mapped_column(enum_type(Status, "license_status"), default=Status.ACTIVE)
    status_reason: Mapped[str | None]
    """The words of staff for staff; what the owner reads is `status_message`."""
    status_message: Mapped[str | None]
    features: Mapped[dict[str, Any]]
    fingerprint_policy: Mapped[FingerprintPolicy] = mapped_column(
        enum_type(FingerprintPolicy, "fingerprint_policy"), default=FingerprintPolicy.NONE
    )
    fingerprint: Mapped[str | None]
    nextpanel_user_id: Mapped[UUID | None]
    nextpanel_login_url: Mapped[str | None]
    provisioning: Mapped[ProvisioningState] = mapped_column(
        enum_type(ProvisioningState, "provisioning_state"), default=ProvisioningState.PENDING
    )
    provisioning_error: Mapped[str | None]
    activation_date: Mapped[datetime]
    expiry_date: Mapped[datetime | None]
    grace_until: Mapped[datetime | None]
    auto_renew: Mapped[bool] = mapped_column(default=True)
    limit_overrides: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    extended_until: Mapped[datetime | None]
    account_order: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    account_generation: Mapped[int] = mapped_column(server_default=text("0"), default=0)
    """How often it was bought again: each time it gets another account on NextPanel."""
    version: Mapped[BigInt] = mapped_column(default=1)
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


def _own_license(table: str) -> ForeignKeyConstraint:
    """Requires that the license belongs to the row's user."""
    return ForeignKeyConstraint(
        ["license_id", "user_id"], ["licenses.id", "licenses.user_id"], name=f"fk_{table}_license_id_user_id"
    )


class LicenseSuspension(Table):
    """A cause for which a license is suspended, open until `ended_at`. `reason` is for staff, `message` for the owner.

    The causes that a license had before are kept: they tell since when and for how long.
    """

    __tablename__ = "license_suspensions"
    __table_args__ = (
        _own_license("license_suspensions"),
        Index("ix_license_suspensions_license_id", "license_id", "since"),
        Index(
            "uq_license_suspensions_open",
            "license_id",
            "cause",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"))
    cause: Mapped[Cause] = mapped_column(enum_type(Cause, "suspension_cause"))
    since: Mapped[datetime]
    reason: Mapped[str | None]
    message: Mapped[str | None]
    ended_at: Mapped[datetime | None]


class ApiKey(Table):
    """A key that signs NextPanel's calls: for one license or, without one, for the whole platform.

    `key_id` is public and names the key in a signature. `key_hash` is the secret's keyed hash. The secret itself is
    sealed, because an HMAC cannot be verified with a hash. During a rotation two secrets are valid. `instance_id` is
    the panel that the activation created the key for; a key that a user made has none. `networks`: those it may be used
    from, in CIDR notation; an empty list is any.
    """

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_bucket", text("np_api_key_bucket(key_id)")),
        _own_license("api_keys"),
    )

    id: Mapped[RowId]
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"), index=True)
    license_id: Mapped[UUID | None] = mapped_column(ForeignKey("licenses.id"), index=True)
    key_id: Mapped[str] = mapped_column(unique=True)
    key_hash: Mapped[bytes] = mapped_column(index=True)
    secret: Mapped[bytes]
    previous_secret: Mapped[bytes | None]
    previous_until: Mapped[datetime | None]
    name: Mapped[str]
    permissions: Mapped[list[str]]
    instance_id: Mapped[UUID | None]
    networks: Mapped[list[str]] = mapped_column(server_default=text("'[]'"), default=list)
    last_used_at: Mapped[datetime | None]
    last_used_address: Mapped[str | None]
    expires_at: Mapped[datetime | None]
    is_active: Mapped[bool] = mapped_column(default=True)
    version: Mapped[BigInt] = mapped_column(default=1)
    created_at: Mapped[CreatedAt]


class ActivationToken(Table):
    """Turns a license key into an API key for one panel: valid once, until it expires. Stored as a keyed hash."""

    __tablename__ = "activation_tokens"
    __table_args__ = (_own_license("activation_tokens"),)

    token_hash: Mapped[bytes] = mapped_column(primary_key=True)
    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), index=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]


class LeaseRow(Table):
    """The one lease of a license: its version and its end. Only a usable license has one.

    Stored so that an emptied Redis can be filled again without signing.
    """

    __tablename__ = "leases"

    license_id: Mapped[UUID] = mapped_column(ForeignKey("licenses.id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    version: Mapped[BigInt]
    not_after: Mapped[datetime]
    token: Mapped[str]
    kid: Mapped[str]
    signed_at: Mapped[datetime] = mapped_column(server_default=NOW)


class LeaseKey(Table):
    """A public key of leases, published until the last lease that it may have signed has ended."""

    __tablename__ = "lease_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[bytes]
    published_until: Mapped[datetime]
