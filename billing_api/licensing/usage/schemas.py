"""Usage schemas: reports and answers as JSON."""

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
    """A creation, a deletion, or the number in total (`set`: a resync, or a gauge such as storage_gb)."""

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
    """Up to 1,000 reports. Each is read, recorded and answered by itself, so an invalid one does not affect others."""

    items: Annotated[list[UsageItem], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class RawReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same list with items that are not parsed yet."""

    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class UsageRecorded(msgspec.Struct, frozen=True):
    """`quota_remaining` null is unlimited. It is 0 with `overage` true where the usage exceeds the limit."""

    success: bool
    quota_remaining: int | None
    overage: bool = False


class ItemProblem(msgspec.Struct, frozen=True):
    """Why an item is not recorded, and what to do. `status`: the HTTP status that the item would have had alone."""

    status: int
    code: str
    detail: str
    conclusive: bool
    errors: tuple[FieldError, ...] = ()


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """For a recorded item the same answer as for a single report; for any other one the problem."""

    success: bool
    quota_remaining: int | msgspec.UnsetType | None = msgspec.UNSET
    overage: bool | msgspec.UnsetType = msgspec.UNSET
    problem: ItemProblem | msgspec.UnsetType = msgspec.UNSET


class UsageAnswers(msgspec.Struct, frozen=True):
    """An answer for each item, in the order of the items."""

    items: list[ItemAnswer]
