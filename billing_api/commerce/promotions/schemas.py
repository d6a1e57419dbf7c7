"""Promotion schemas: coupons and promotion codes as JSON."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.commerce.plans.prices import Currency
from billing_api.web.fields import CreatedAt, UserId
from billing_api.web.parameters import STORABLE
from core.field_errors import FORM
from core.money import Money

CouponId = Annotated[
    str, Meta(description="The coupon's id at Stripe.", examples=["019ab3f9-5a11-7c21-9d31-1f5b6a7c8d31"])
]
CodeId = Annotated[str, Meta(description="The promotion code's id at Stripe.", examples=["promo_1RAx2LkJqp"])]
Code = Annotated[
    str,
    Meta(
        description="What customers type; its case does not matter.",
        pattern=r"^[A-Za-z0-9]{3,40}$",
        examples=["WELCOME20"],
        extra={FORM: "3 to 40 letters and digits"},
    ),
]
_Times = Annotated[
    Annotated[int, Meta(ge=1, le=1_000_000)] | None,
    Meta(description="How often it may be used, by all customers together; null: without limit.", examples=[100]),
]
_Until = Annotated[
    Annotated[datetime, Meta(tz=True)] | None,
    Meta(description="Until when it may be used; null: without end.", examples=["2027-01-31T00:00:00Z"]),
]
_Used = Annotated[int, Meta(description="How often it was used.", examples=[3])]
_Months = Annotated[
    Annotated[int, Meta(ge=1, le=36)] | None,
    Meta(description="For how many months, where it is `repeating`; else null.", examples=[3]),
]
_Percent = Annotated[
    Annotated[float, Meta(gt=0, le=100)] | None,
    Meta(description="Per cent; null where an amount is taken off.", examples=[20]),
]
Duration = Annotated[
    Literal["once", "repeating", "forever"],
    Meta(description="`once`: of one invoice. `repeating`: for months. `forever`: of each invoice.", examples=["once"]),
]


class AmountOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An amount to take off, or to reach."""

    amount: Annotated[
        Annotated[int, Meta(ge=1, le=99_999_999)], Meta(description="In minor units of the currency.", examples=[500])
    ]
    currency: Annotated[Currency, Meta(description="ISO 4217, in lower case.")]


class CreateCoupon(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A coupon: what it takes off, and of how many invoices."""

    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=40, pattern=STORABLE, extra={FORM: "printable text"})],
        Meta(description="As it stands on invoices.", examples=["Welcome"]),
    ]
    percent_off: _Percent = None
    amount_off: Annotated[
        AmountOff | None, Meta(description="An amount; null where a percentage is taken off.", examples=[None])
    ] = None
    duration: Duration
    duration_in_months: _Months = None
    max_redemptions: _Times = None
    redeem_by: _Until = None


class CouponView(msgspec.Struct, frozen=True, kw_only=True):
    """A coupon, as Stripe has it."""

    id: CouponId
    name: Annotated[str | None, Meta(description="As it stands on invoices.", examples=["Welcome"])]
    percent_off: _Percent
    amount_off: Annotated[Money | None, Meta(description="Null where a percentage is taken off.", examples=[None])]
    duration: Duration
    duration_in_months: _Months
    max_redemptions: _Times
    times_redeemed: _Used
    redeem_by: _Until
    is_valid: Annotated[bool, Meta(description="Whether it may still be used.", examples=[True])]
    created_at: CreatedAt


class CreateCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A promotion code of a coupon, and who may use it."""

    coupon_id: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", extra={FORM: "an id, as GET admin/coupons has it"})],
        Meta(description="The coupon that it gives.", examples=["019ab3f9-5a11-7c21-9d31-1f5b6a7c8d31"]),
    ]
    code: Code
    max_redemptions: _Times = None
    expires_at: _Until = None
    first_purchase: Annotated[
        bool, Meta(description="Only for customers who have paid for nothing yet.", examples=[False])
    ] = False
    minimum: Annotated[
        AmountOff | None, Meta(description="What a purchase must come to; null: any.", examples=[None])
    ] = None
    user_id: Annotated[
        UUID | None, Meta(description="The only customer who may use it; null: all.", examples=[None])
    ] = None


class SwitchCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the code may be used."""

    is_active: Annotated[bool, Meta(description="False: nobody can use it any more.", examples=[False])]


class CodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A promotion code, as Stripe has it."""

    id: CodeId
    code: Annotated[str, Meta(description="What customers type.", examples=["WELCOME20"])]
    coupon_id: CouponId
    is_active: Annotated[bool, Meta(description="Whether it may be used.", examples=[True])]
    max_redemptions: _Times
    times_redeemed: _Used
    expires_at: _Until
    first_purchase: Annotated[bool, Meta(description="Only for a first purchase.", examples=[False])]
    minimum: Annotated[Money | None, Meta(description="What a purchase must come to.", examples=[None])]
    user_id: Annotated[UserId | None, Meta(description="The only customer who may use it; null: all.", examples=[None])]
    created_at: CreatedAt


class Coupons(msgspec.Struct, frozen=True):
    """A part of the coupons."""

    items: Annotated[list[CouponView], Meta(description="At most 100, the newest first.")]
    more: Annotated[
        bool, Meta(description="Whether there are older ones: send the last id as `after`.", examples=[False])
    ]


class Codes(msgspec.Struct, frozen=True):
    """A part of the promotion codes."""

    items: Annotated[list[CodeView], Meta(description="At most 100, the newest first.")]
    more: Annotated[
        bool, Meta(description="Whether there are older ones: send the last id as `after`.", examples=[False])
    ]
