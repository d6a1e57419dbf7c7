"""Usage schemas: reports and answers as JSON."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from billing_api.web.fields import LicenseKey
from billing_api.web.parameters import STORABLE
from core.errors import FieldError
from core.licensing.counting import UsageAction
from core.licensing.plan import Resource

MOST_ITEMS: Final = 1000

Count = Annotated[int, Meta(ge=0, le=1_000_000_000, description="How many; GB for storage_gb.", examples=[1])]
LicenseKeyText = Annotated[LicenseKey, Meta(min_length=1, max_length=64)]
IdempotencyKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=STORABLE,
        description="Makes the item count once, however often it is sent.",
        examples=["panel-1-database-4711"],
    ),
]
ReservationId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=STORABLE)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class UsageReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A creation, a deletion, or the number in total (`set`: a resync, or a gauge such as storage_gb)."""

    license_key: LicenseKeyText
    resource: Annotated[Resource, Meta(description="What is counted.", examples=["databases"])]
    action: Annotated[
        UsageAction,
        Meta(
            description="`created` and `deleted` count up and down by `count`; `set` is the number in total.",
            examples=["created"],
        ),
    ]
    count: Count
    reservation_id: Annotated[
        ReservationId | None,
        Meta(
            description=(
                "The reservation that this report uses up, as `reserve` named it; null or absent: none was made."
            ),
            examples=["0b9f3c51d2a84e6f97c1d05be83a7246"],
        ),
    ] = None
    occurred_at: Annotated[
        Instant | None,
        Meta(
            description="When it happened, with a UTC offset; null or absent: now.", examples=["2026-11-22T16:00:00Z"]
        ),
    ] = None


class UsageItem(UsageReport, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A report in a list, with the key that makes it count once."""

    idempotency_key: IdempotencyKey


class UsageReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1,000 reports. Each is read, recorded and answered by itself, so an invalid one does not affect others."""

    items: Annotated[
        list[UsageItem],
        Meta(min_length=1, max_length=MOST_ITEMS, description="The reports. The same key twice counts once."),
    ]


class RawReports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same list with items that are not parsed yet."""

    items: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class UsageRecorded(msgspec.Struct, frozen=True):
    """The report is stored."""

    success: Annotated[bool, Meta(description="Always true here.", examples=[True])]
    quota_remaining: Annotated[
        int | None,
        Meta(
            description="How much is left; null is unlimited, 0 where the usage reaches or exceeds the limit.",
            examples=[43],
        ),
    ]
    overage: Annotated[
        bool, Meta(description="Whether the usage exceeds the limit. The report counts all the same.", examples=[False])
    ] = False


class ItemProblem(msgspec.Struct, frozen=True):
    """Why an item is not recorded, and what to do."""

    status: Annotated[int, Meta(description="The HTTP status that the item would have had alone.", examples=[400])]
    code: Annotated[
        str, Meta(description="What is wrong, for programs: a line of docs/problems.md.", examples=["invalid_input"])
    ]
    detail: Annotated[
        str, Meta(description="What is wrong and what to do, for people.", examples=["count must be at least 0"])
    ]
    conclusive: Annotated[
        bool,
        Meta(description="True: the same item is refused again. False: nothing can be concluded.", examples=[True]),
    ]
    errors: Annotated[
        tuple[FieldError, ...],
        Meta(
            description="Every place where the item is wrong.",
            examples=[[{"field": "count", "detail": "must be at least 0", "code": "too_small", "params": {"min": 0}}]],
        ),
    ] = ()


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """For a recorded item the same answer as for a single report; for any other one the problem."""

    success: Annotated[bool, Meta(description="Whether the item is recorded.", examples=[True])]
    quota_remaining: Annotated[
        int | msgspec.UnsetType | None,
        Meta(description="As in the answer to a single report; absent where it is not recorded.", examples=[43]),
    ] = msgspec.UNSET
    overage: Annotated[
        bool | msgspec.UnsetType,
        Meta(description="As in the answer to a single report; absent where it is not recorded.", examples=[False]),
    ] = msgspec.UNSET
    problem: Annotated[
        ItemProblem | msgspec.UnsetType, Meta(description="Why it is not recorded; absent where it is.")
    ] = msgspec.UNSET


class UsageAnswers(msgspec.Struct, frozen=True):
    """An answer for each item, in the order of the items."""

    items: Annotated[
        list[ItemAnswer],
        Meta(
            description="The answers.",
            examples=[
                [
                    {"success": True, "quota_remaining": 43, "overage": False},
                    {
                        "success": False,
                        "problem": {
                            "status": 400,
                            "code": "invalid_input",
                            "detail": "count must be at least 0",
                            "conclusive": True,
                        },
                    },
                ]
            ],
        ),
    ]
