"""License schemas: requests and answers as JSON."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.licenses.label import Label
from billing_api.web import fields
from billing_api.web.parameters import STORABLE, Message, Reason
from core.licensing.plan import LIMITS, with_limits
from core.licensing.state import Status
from db.models.licensing import FingerprintPolicy, License, LicenseType, ProvisioningState


class _LicenseFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    plan: str
    license_type: LicenseType
    status: Status
    status_message: str | None
    key_hint: str | None
    features: dict[str, Any]


class _ReasonGiven(msgspec.Struct, frozen=True, kw_only=True):
    reason: Reason
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(self.reason, self.message)


_Limit = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]

if TYPE_CHECKING:
    _LicenseFactsWithLimits = _LicenseFacts
    _ReasonGivenWithLimits = _ReasonGiven
else:
    _LicenseFactsWithLimits = with_limits(_LicenseFacts, int | None)
    _ReasonGivenWithLimits = with_limits(_ReasonGiven, _Limit | msgspec.UnsetType | None, default=msgspec.UNSET)


class LicenseView(_LicenseFactsWithLimits, frozen=True, kw_only=True):
    """A license as its owner sees it. A limit of null is unlimited. Use reveal-key to see the key.

    `status_message`: what staff wrote to the owner with the last suspension or resumption, or why the license ended.
    `key_hint`: the end of the key, such as "…7Q4K", to tell it from others; null where nobody has looked it up yet.
    `fingerprint`: the panel that an activation bound it to, or null. `fingerprint_policy`: whether panels must send
    their fingerprint with each validation.
    """

    fingerprint_policy: FingerprintPolicy
    fingerprint: str | None
    nextpanel_user_id: UUID | None
    nextpanel_login_url: str | None
    provisioning: ProvisioningState
    activation_date: datetime
    expiry_date: datetime | None
    grace_until: datetime | None
    auto_renew: bool
    created_at: datetime
    updated_at: datetime
    # With defaults: an answer that was stored under an Idempotency-Key before these were there can still be replayed.
    label: Annotated[str | None, msgspec.Meta(description="the owner's own name for it", examples=["Shop, Graz"])] = (
        None
    )
    subscription_id: Annotated[
        UUID | None,
        msgspec.Meta(
            description="the subscription that pays for it; null: none does",
            examples=[fields.SUBSCRIPTION],
        ),
    ] = None

    @classmethod
    def of(cls, license_: License, plan: str, subscription_id: UUID | None, now: datetime) -> "LicenseView":
        return cls(**_facts(license_, plan, now), subscription_id=subscription_id)


class AdminLicenseView(LicenseView, frozen=True, kw_only=True):
    """A license as staff see it: with its owner, the error of its account, overrides and extension.

    `status_reason`: the reason of the last suspension or resumption, for staff alone.

    `limit_overrides`: `{"max_databases": {"at_least": 60}}` or `at_most`, on every plan; null is unlimited.
    `extended_until`: renewal and cancellation never end the license sooner.
    """

    user_id: UUID
    email: str
    status_reason: str | None
    provisioning_error: str | None
    limit_overrides: dict[str, dict[str, int | None]]
    extended_until: datetime | None
    version: int

    @classmethod
    def of_row(
        cls, license_: License, plan: str, email: str, subscription_id: UUID | None, now: datetime
    ) -> "AdminLicenseView":
        return cls(
            **_facts(license_, plan, now),
            subscription_id=subscription_id,
            user_id=license_.user_id,
            email=email,
            status_reason=license_.status_reason,
            provisioning_error=license_.provisioning_error,
            limit_overrides=license_.limit_overrides,
            extended_until=license_.extended_until,
            version=license_.version,
        )


class RevealedKey(msgspec.Struct, frozen=True):
    license_key: str


class ResourceUsage(msgspec.Struct, frozen=True):
    """`limit` null is unlimited. `held` null is not known now. `over`: by how much `used` exceeds the limit."""

    used: int
    held: int | None
    limit: int | None
    over: int


class UsageView(msgspec.Struct, frozen=True):
    resources: dict[str, ResourceUsage]


class ExtendLicense(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expiry_date`: later than now and than the present end."""

    expiry_date: Annotated[datetime, msgspec.Meta(tz=True)]
    reason: Reason
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(self.reason, self.message)


class LimitsGiven(_ReasonGivenWithLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of this license: null is unlimited, absent limits stay as they are. A limit may be below present usage."""

    def given(self) -> dict[str, int | None]:
        values = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}


class ChangeLicense(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of one license; absent fields stay as they are.

    `fingerprint_policy`: "required" refuses a validation without a fingerprint, or with another one than the license is
    bound to. "none" compares a fingerprint only if one is sent.
    """

    fingerprint_policy: FingerprintPolicy | msgspec.UnsetType = msgspec.UNSET
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(None if self.reason is msgspec.UNSET else self.reason, self.message)


class LabelGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What owners set of their licenses. Absent: it stays as it is."""

    label: Annotated[Label | None, msgspec.Meta(description="null removes it", examples=["Shop, Graz"])] | UnsetType = (
        UNSET
    )


class KeyGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    license_key: Annotated[str, msgspec.Meta(max_length=64)]


class IssueLicense(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expiry_date` absent or null: without end."""

    email: Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=STORABLE)]
    plan: Literal["starter", "professional", "enterprise"]
    expiry_date: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class IssuedLicense(msgspec.Struct, frozen=True):
    """The key is shown only now."""

    id: UUID
    license_key: str


def effective_status(license_: License, now: datetime) -> Status:
    """The status to show: an active license whose last instant has passed is expired, before any job writes that."""
    ends = [instant for instant in (license_.expiry_date, license_.grace_until) if instant is not None]
    if license_.status is Status.ACTIVE and license_.expiry_date is not None and max(ends) <= now:
        return Status.EXPIRED
    return license_.status


def _facts(license_: License, plan: str, now: datetime) -> dict[str, Any]:
    same = (
        "id license_type status_message features fingerprint_policy fingerprint"
        " nextpanel_user_id nextpanel_login_url provisioning activation_date expiry_date grace_until auto_renew label"
    )
    return {
        **{name: getattr(license_, name) for name in same.split()},
        **license_.limits.by_name(),
        "plan": plan,
        "key_hint": None if license_.key_hint is None else f"…{license_.key_hint}",
        "status": effective_status(license_, now),
        "created_at": license_.created_at.astimezone(UTC),
        "updated_at": license_.updated_at.astimezone(UTC),
    }
