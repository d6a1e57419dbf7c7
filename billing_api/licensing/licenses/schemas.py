"""License schemas: requests and answers as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from billing_api.licensing.licenses.label import Label
from billing_api.licensing.licenses.views import ForStaff, Shown
from billing_api.web import fields
from billing_api.web.fields import (
    CreatedAt,
    Email,
    FeatureFlags,
    Fingerprint,
    LicenseId,
    LicenseKey,
    LimitOrNone,
    NumberUsed,
    PlanName,
    UpdatedAt,
    UserId,
)
from core.licensing.plan import with_limits
from core.licensing.state import Cause, Status
from db.models.licensing import FingerprintPolicy, License, LicenseType, ProvisioningState
from db.reads import Record


class _LicenseFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: LicenseId
    plan: PlanName
    license_type: LicenseType
    status: Status
    # Defaults: see `label` below.
    status_message: Annotated[
        str | None,
        Meta(
            description=(
                "What staff wrote to the owner with the last suspension or resumption, or why the license "
                "ended; null where nothing was written."
            ),
            examples=[None],
        ),
    ] = None
    key_hint: Annotated[
        str | None,
        Meta(
            description="The end of the key, to tell it from others; null where nobody has looked it up yet.",
            examples=["…9RWT"],
        ),
    ] = None
    features: FeatureFlags


if TYPE_CHECKING:
    _LicenseFactsWithLimits = _LicenseFacts
else:
    _LicenseFactsWithLimits = with_limits(_LicenseFacts, int | None)


class SuspensionCause(msgspec.Struct, frozen=True, kw_only=True):
    """An open cause of a suspension. The license stays suspended while one is open."""

    cause: Annotated[
        Cause,
        Meta(
            description=(
                "`unpaid`: a renewal was not paid. `disputed`: a payment is disputed with the bank. `refunded`: a "
                "payment was refunded. `staff`: staff suspended it. A payment closes `unpaid` alone."
            ),
            examples=["unpaid"],
        ),
    ]
    since: Annotated[datetime, Meta(description="Since when.", examples=["2026-12-29T16:00:00Z"])]
    message: Annotated[
        str | None, Meta(description="What it is about; null where nothing was written.", examples=[None])
    ]


class SuspensionCauseForStaff(SuspensionCause, frozen=True, kw_only=True):
    """An open cause of a suspension, with the reason that is for staff alone."""

    reason: Annotated[str | None, Meta(description="For staff alone; null where none was given.", examples=[None])]


class LicenseView(_LicenseFactsWithLimits, frozen=True, kw_only=True):
    """A license as its owner sees it. Use reveal-key to see the key."""

    fingerprint_policy: FingerprintPolicy
    fingerprint: Fingerprint
    nextpanel_user_id: Annotated[
        UUID | None,
        Meta(
            description="The license's account on NextPanel; null until it has one.",
            examples=["7c9e6679-7425-40de-944b-e07fc1f90ae7"],
        ),
    ]
    nextpanel_login_url: Annotated[
        str | None,
        Meta(
            description="Where to sign in to that account; null until it has one.",
            examples=["https://panel.example.com/login"],
        ),
    ]
    provisioning: ProvisioningState
    activation_date: Annotated[datetime, Meta(description="When its term began.", examples=["2026-11-22T16:00:00Z"])]
    expiry_date: Annotated[
        datetime | None, Meta(description="When its term ends; null: it has no end.", examples=["2026-12-22T16:00:00Z"])
    ]
    grace_until: Annotated[
        datetime | None,
        Meta(description="Until when it goes on although a payment is overdue; null where none is.", examples=[None]),
    ]
    auto_renew: Annotated[bool, Meta(description="Whether a subscription will renew it.", examples=[True])]
    created_at: CreatedAt
    updated_at: UpdatedAt
    # With defaults: an answer that was stored under an Idempotency-Key before these were there can still be replayed.
    label: Annotated[str | None, msgspec.Meta(description="The owner's own name for it.", examples=["Shop, Graz"])] = (
        None
    )
    subscription_id: Annotated[
        UUID | None,
        msgspec.Meta(
            description="The subscription that pays for it; null: none does.",
            examples=[fields.SUBSCRIPTION],
        ),
    ] = None
    suspension_causes: Annotated[
        Sequence[SuspensionCause],
        Meta(description="Why it is suspended, the oldest first; empty where it is not.", examples=[[]]),
    ] = ()

    @classmethod
    def read(cls, row: Record) -> "LicenseView":
        """From a row with columns of these names."""
        return msgspec.convert(row.by_name(), cls)

    @classmethod
    def of(cls, row: Shown, now: datetime) -> "LicenseView":
        causes = msgspec.convert(row.causes, list[SuspensionCause])
        facts = _facts(row.license, row.plan, now)
        return cls(**facts, subscription_id=row.subscription_id, suspension_causes=causes)


class AdminLicenseView(LicenseView, frozen=True, kw_only=True):
    """A license as staff see it: with its owner, the error of its account, overrides and extension."""

    user_id: UserId
    email: Email
    status_reason: Annotated[
        str | None,
        Meta(
            description=(
                "The reason of the last suspension or resumption, for staff alone; null where there was none."
            ),
            examples=[None],
        ),
    ]
    provisioning_error: Annotated[
        str | None, Meta(description="Why NextPanel refused the account; null where it did not.", examples=[None])
    ]
    limit_overrides: Annotated[
        dict[str, dict[str, int | None]],
        Meta(
            description=(
                "Limits that staff set in place of the plan's, on every plan: `at_least` so much, or "
                "`at_most`; null is unlimited."
            ),
            examples=[{"max_databases": {"at_least": 60}}],
        ),
    ]
    extended_until: Annotated[
        datetime | None,
        Meta(
            description=("Renewal and cancellation never end the license sooner; null where staff did not extend it."),
            examples=[None],
        ),
    ]
    version: Annotated[int, Meta(description="Rises with every change.", examples=[3])]
    suspension_causes: Annotated[
        Sequence[SuspensionCauseForStaff],
        Meta(description="Why it is suspended, the oldest first; empty where it is not.", examples=[[]]),
    ] = ()

    @classmethod
    def of_row(cls, row: ForStaff, now: datetime) -> "AdminLicenseView":
        license_ = row.license
        return cls(
            **_facts(license_, row.plan, now),
            subscription_id=row.subscription_id,
            suspension_causes=msgspec.convert(row.causes, list[SuspensionCauseForStaff]),
            user_id=license_.user_id,
            email=row.email,
            status_reason=license_.status_reason,
            provisioning_error=license_.provisioning_error,
            limit_overrides=license_.limit_overrides,
            extended_until=license_.extended_until,
            version=license_.version,
        )


class RevealedKey(msgspec.Struct, frozen=True):
    """The license key in plain text."""

    license_key: LicenseKey


class ResourceUsage(msgspec.Struct, frozen=True):
    """Use of one resource."""

    used: NumberUsed
    held: Annotated[
        int | None,
        Meta(
            description="How much is reserved while it is being created; null where it is not known now.", examples=[0]
        ),
    ]
    limit: LimitOrNone
    over: Annotated[int, Meta(description="By how much `used` exceeds the limit; 0 where it does not.", examples=[0])]


class UsageView(msgspec.Struct, frozen=True):
    """Use of a license now."""

    resources: Annotated[
        dict[str, ResourceUsage],
        Meta(
            description="By resource: accounts, domains, databases, emails, storage_gb.",
            examples=[
                {
                    "accounts": {"used": 3, "held": 0, "limit": 5, "over": 0},
                    "databases": {"used": 7, "held": 1, "limit": 50, "over": 0},
                }
            ],
        ),
    ]


class LabelGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What owners set of their licenses. Absent: it stays as it is."""

    label: (
        Annotated[Label | None, msgspec.Meta(description="Null removes it.", examples=["Shop, Graz"])] | UnsetType
    ) = UNSET


def effective_status(license_: License, now: datetime) -> Status:
    """The status to show: an active license whose last instant has passed is expired, before any job writes that."""
    ends = [instant for instant in (license_.expiry_date, license_.grace_until) if instant is not None]
    if license_.status is Status.ACTIVE and license_.expiry_date is not None and max(ends) <= now:
        return Status.EXPIRED
    return license_.status


def shown_hint(license_: License) -> str | None:
    """The end of the key, with a sign that it is one."""
    return None if license_.key_hint is None else f"…{license_.key_hint}"


def _facts(license_: License, plan: str, now: datetime) -> dict[str, Any]:
    same = (
        "id license_type status_message features fingerprint_policy fingerprint"
        " nextpanel_user_id nextpanel_login_url provisioning activation_date expiry_date grace_until auto_renew label"
    )
    return {
        **{name: getattr(license_, name) for name in same.split()},
        **license_.limits.by_name(),
        "plan": plan,
        "key_hint": shown_hint(license_),
        "status": effective_status(license_, now),
        "created_at": license_.created_at.astimezone(UTC),
        "updated_at": license_.updated_at.astimezone(UTC),
    }
