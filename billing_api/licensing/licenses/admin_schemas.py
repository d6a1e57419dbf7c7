"""License schemas of staff: the orders that they give, as JSON. What they read is in schemas.py."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from billing_api.access.staff_reason import StaffReason
from billing_api.web.fields import (
    LicenseId,
    LicenseKey,
    PlanCode,
)
from billing_api.web.parameters import STORABLE, Message, Reason, ReasonGiven
from core.licensing.plan import LIMITS, with_limits
from db.models.licensing import FingerprintPolicy

_Limit = Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)]

if TYPE_CHECKING:
    _ReasonGivenWithLimits = ReasonGiven
else:
    _ReasonGivenWithLimits = with_limits(ReasonGiven, _Limit | msgspec.UnsetType | None, default=msgspec.UNSET)


class ExtendLicense(ReasonGiven, frozen=True, kw_only=True):
    """A later end of a license."""

    expiry_date: Annotated[
        datetime,
        Meta(
            tz=True,
            description="The new end, with a UTC offset: later than now and than the present end.",
            examples=["2027-01-31T00:00:00Z"],
        ),
    ]


class LimitsGiven(_ReasonGivenWithLimits, frozen=True, kw_only=True):
    """Limits of this license: null is unlimited, absent limits stay as they are. A limit may be below present usage."""

    def given(self) -> dict[str, int | None]:
        values = {name: getattr(self, name) for name in LIMITS}
        return {name: value for name, value in values.items() if value is not msgspec.UNSET}


class ChangeLicense(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of one license; absent fields stay as they are."""

    fingerprint_policy: Annotated[
        FingerprintPolicy | msgspec.UnsetType,
        Meta(
            description=(
                "`required` refuses a validation without a fingerprint, or with another one than the "
                "license is bound to. `none` compares a fingerprint only if one is sent."
            ),
            examples=["required"],
        ),
    ] = msgspec.UNSET
    reason: Reason | msgspec.UnsetType = msgspec.UNSET
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(None if self.reason is msgspec.UNSET else self.reason, self.message)


class KeyGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The license key to look for."""

    license_key: Annotated[LicenseKey, Meta(max_length=64)]


class IssueLicense(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A license to issue without a payment."""

    email: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=254,
            pattern=STORABLE,
            description="The address of the customer's account. It must exist.",
            examples=["ada@example.com"],
        ),
    ]
    plan: PlanCode
    expiry_date: Annotated[
        Annotated[datetime, msgspec.Meta(tz=True)] | None,
        Meta(description="When it ends, with a UTC offset; absent or null: never.", examples=["2027-11-22T00:00:00Z"]),
    ] = None


class IssuedLicense(msgspec.Struct, frozen=True):
    """The new license. Its key is shown only now."""

    id: LicenseId
    license_key: LicenseKey
