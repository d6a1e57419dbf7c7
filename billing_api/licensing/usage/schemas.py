"""Usage reports on the wire."""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from billing_api.web.parameters import STORABLE
from core.errors import FieldError
from core.licensing.counting import UsageAction
from core.licensing.plan import Resource

MOST_ITEMS: Final = 1000

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
LicenseKeyText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
IdempotencyKey = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=STORABLE)]
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


class UsageItem(UsageReport, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A report in a list, with the key that makes it count once."""

    idempotency_key: IdempotencyKey


class UsageReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 reports, each of which is read, recorded and answered by itself: one that is wrong harms no other."""

    items: Annotated[list[UsageItem], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class RawReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same, its items not read yet."""

    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class UsageRecorded(msgspec.Struct, frozen=True):
    """`quota_remaining` null is unlimited; 0 with `overage` true where the fact passed the limit."""

    success: bool
    quota_remaining: int | None
    overage: bool = False


class ItemProblem(msgspec.Struct, frozen=True):
    """Why an item is not recorded, and what to do about it. `status`: what it would have been answered alone."""

    status: int
    code: str
    detail: str
    conclusive: bool
    errors: tuple[FieldError, ...] = ()


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Of a recorded item what it would have been answered alone; of another one the problem."""

    success: bool
    quota_remaining: int | msgspec.UnsetType | None = msgspec.UNSET
    overage: bool | msgspec.UnsetType = msgspec.UNSET
    problem: ItemProblem | msgspec.UnsetType = msgspec.UNSET


class UsageAnswers(msgspec.Struct, frozen=True):
    """An answer for each item, in the order of the items."""

    items: list[ItemAnswer]
