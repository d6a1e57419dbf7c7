"""Usage reports on the wire."""

from datetime import datetime
from typing import Annotated

import msgspec

from billing_api.http import STORABLE
from core.licensing.plan import Resource
from db.models.licensing import UsageAction

MOST_ITEMS = 1000

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
LicenseKeyText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
ReservationId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=STORABLE)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class UsageReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something was created or deleted, or is so many in all (`set`: a resync, or a gauge such as storage_gb)."""

    license_key: LicenseKeyText
    resource: Resource
    action: UsageAction
    count: Count
    reservation_id: ReservationId | None = None
    occurred_at: Instant | None = None


class UsageRecorded(msgspec.Struct, frozen=True):
    """`quota_remaining` null is unlimited; 0 with `overage` true where the fact passed the limit."""

    success: bool
    quota_remaining: int | None
    overage: bool = False
