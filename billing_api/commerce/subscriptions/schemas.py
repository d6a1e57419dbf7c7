"""Subscription schemas: requests and answers as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.commerce.payment_methods.schemas import MethodId
from billing_api.commerce.plans.prices import MOST_LICENSES
from billing_api.commerce.subscriptions.ahead import (
    DiscountView,
    NextInvoice,
    OpenPayment,
    discount_of,
    next_invoice_of,
    open_payment_of,
)
from billing_api.licensing.licenses.terms import limits_on
from billing_api.web.fields import (
    LICENSE,
    CreatedAt,
    LicenseId,
    LimitOrNone,
    NumberUsed,
    PlanId,
    PlanName,
    SubscriptionId,
)
from core.licensing.plan import RESOURCES
from core.money import Money
from db.models.commerce import SubscriptionStatus
from db.models.licensing import Interval, License, Plan
from db.reads import Record


class PendingChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of plan that is not in force yet."""

    plan_id: PlanId
    plan: PlanName
    interval: Interval
    quantity: Annotated[int, Meta(description="For how many licenses it pays then.", examples=[1])]
    takes_effect_at: Annotated[
        datetime | None,
        Meta(
            description="When the change takes effect; null: as soon as it is paid.", examples=["2026-12-22T16:00:00Z"]
        ),
    ]
    payment_url: Annotated[
        str | None,
        Meta(
            description="Where the customer confirms the payment with the bank; null where nothing is to be done.",
            examples=[None],
        ),
    ]
    over: Annotated[
        dict[str, int],
        Meta(
            description=(
                "By how much present usage exceeds the future limits, for each resource that does. Nothing "
                "is deleted then, but nothing more can be created."
            ),
            examples=[{"databases": 2}],
        ),
    ]


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription: how its license is paid for."""

    id: SubscriptionId
    license_id: Annotated[LicenseId, Meta(description="The first license that it pays for.")]
    quantity: Annotated[int, Meta(description="How many licenses it pays for.", examples=[1])]
    license_ids: Annotated[
        list[UUID], Meta(description="All licenses that it pays for, the first first.", examples=[[LICENSE]])
    ]
    ends_at: Annotated[
        datetime | None,
        Meta(
            description="When it ends or has ended, also in the middle of a period; null: it renews.", examples=[None]
        ),
    ]
    trial_ends_at: Annotated[
        datetime | None,
        Meta(description="When its trial ends or has ended; null where it had none.", examples=[None]),
    ]
    plan_id: PlanId
    plan: PlanName
    interval: Interval
    status: SubscriptionStatus
    current_period_start: Annotated[
        datetime, Meta(description="When the paid period began.", examples=["2026-11-22T16:00:00Z"])
    ]
    current_period_end: Annotated[
        datetime,
        Meta(description="When the paid period ends, and the next one is charged.", examples=["2026-12-22T16:00:00Z"]),
    ]
    cancel_at_period_end: Annotated[
        bool, Meta(description="True: it ends with the paid period and is not renewed.", examples=[False])
    ]
    discount: Annotated[
        DiscountView | None,
        Meta(description="What reduces its invoices; null where nothing does.", examples=[None]),
    ]
    next_invoice: Annotated[
        NextInvoice | None, Meta(description="What its renewal will charge; null where it is not renewed.")
    ]
    open_payment: Annotated[
        OpenPayment | None,
        Meta(description="What is to be paid now; null where nothing is.", examples=[None]),
    ]
    pending_change: Annotated[
        PendingChange | None,
        Meta(description="A change of plan that is not in force yet; null where there is none.", examples=[None]),
    ]
    created_at: CreatedAt

    @classmethod
    def read(cls, row: Record) -> "SubscriptionView":
        """From a row of own_repository."""
        return cls(
            id=row.id,
            license_id=row.license_id,
            quantity=row.quantity,
            license_ids=list(row.license_ids or ()),
            ends_at=row.ends_at,
            trial_ends_at=row.trial_ends_at,
            plan_id=row.plan_id,
            plan=row.plan,
            interval=row.interval,
            status=row.status,
            current_period_start=row.current_period_start,
            current_period_end=row.current_period_end,
            cancel_at_period_end=row.cancel_at_period_end,
            discount=discount_of(row),
            next_invoice=next_invoice_of(row),
            open_payment=open_payment_of(row),
            pending_change=_pending(row),
            created_at=row.created_at,
        )


class ChangePreviewed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan to change to, and the number of licenses."""

    plan_id: PlanId
    interval: Interval
    quantity: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_LICENSES)] | None,
        Meta(
            description=(
                "For how many licenses it shall pay. More are charged and issued at once; fewer end with the period,"
                " and no money goes back. Null: as many as now."
            ),
            examples=[3],
        ),
    ] = None
    end_license_ids: Annotated[
        Annotated[list[UUID], Meta(max_length=MOST_LICENSES)],
        Meta(description="Where there are to be fewer: exactly those of its licenses that end.", examples=[[]]),
    ] = []


class ChangeGiven(ChangePreviewed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The plan to change to, and the preview that was seen."""

    proration_date: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(
            description=(
                "The preview's `proration_date`: until its `valid_until` exactly that is charged, and later the answer"
                " is 409 `preview_stale` with a new preview. Null: prorated as of now."
            ),
            examples=["2026-11-22T16:00:00Z"],
        ),
    ] = None


class PreviewPeriod(msgspec.Struct, frozen=True):
    """For which time a line charges or credits."""

    start: Annotated[datetime, Meta(description="Its begin.", examples=["2026-11-22T16:00:00Z"])]
    end: Annotated[datetime, Meta(description="Its end.", examples=["2026-12-22T16:00:00Z"])]


class PreviewLine(msgspec.Struct, frozen=True):
    """A line of the invoice that the change would make, as Stripe words it."""

    description: Annotated[str, Meta(description="What it is for.", examples=["Unused time on 1 × NextPanel Starter"])]
    amount: Annotated[
        Money,
        Meta(description="Negative: a credit.", examples=[{"amount": -2900, "currency": "usd"}]),
    ]
    period: Annotated[PreviewPeriod, Meta(description="For which time.")]


class CancelPreviewed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the subscription shall end."""

    when: Annotated[
        Literal["period_end", "now"],
        Meta(
            description=(
                "`period_end`: it goes on until the paid period is over. `now`: at once, its license with it. While an"
                " invoice is unpaid, it ends at once either way, and nothing more is charged."
            ),
            examples=["period_end"],
        ),
    ] = "period_end"


class CancelGiven(CancelPreviewed, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the subscription shall end, and why."""

    reason: Annotated[
        Literal["too_expensive", "missing_features", "switched_service", "unused", "other"] | None,
        Meta(description="Why, for the seller's numbers.", examples=["unused"]),
    ] = None
    comment: Annotated[
        Annotated[str, Meta(max_length=1000)] | None, Meta(description="In your own words.", examples=[None])
    ] = None


class CancelOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a cancellation means."""

    ends_at: Annotated[
        datetime, Meta(description="When the subscription and its license end.", examples=["2026-12-22T16:00:00Z"])
    ]
    charges: Annotated[
        Money,
        Meta(description="What will still be charged: nothing.", examples=[{"amount": 0, "currency": "usd"}]),
    ]
    credit: Annotated[
        Money,
        Meta(
            description="What goes to your balance for the rest of the paid period, where the seller gives that.",
            examples=[{"amount": 0, "currency": "usd"}],
        ),
    ]


class PayGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which card to try."""

    payment_method_id: Annotated[
        MethodId | None, Meta(description="A card of mine; null: the one that is charged.", examples=[None])
    ] = None


class PayOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of trying the open invoice."""

    status: Annotated[
        Literal["paid", "action_required"],
        Meta(description="`action_required`: the bank waits for a confirmation at `url`.", examples=["paid"]),
    ]
    url: Annotated[
        str | None, Meta(description="Where the customer confirms the payment; null where it is paid.", examples=[None])
    ]


class LimitToCome(msgspec.Struct, frozen=True):
    """A limit of the future plan, and how present usage fits into it."""

    used: NumberUsed
    limit: LimitOrNone
    over: Annotated[
        int, Meta(description="By how much present usage exceeds the limit; 0 where it fits.", examples=[0])
    ]


class ChangePreview(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a change, if it were made now. Nothing has been changed."""

    direction: Annotated[
        Literal["upgrade", "downgrade"],
        Meta(description="Whether it becomes larger (at once) or smaller (with the next period)."),
    ]
    plan_id: PlanId
    plan: PlanName
    interval: Interval
    quantity: Annotated[int, Meta(description="For how many licenses it would pay.", examples=[1])]
    takes_effect_at: Annotated[
        datetime | None, Meta(description="When the change takes effect; null: as soon as it is paid.", examples=[None])
    ]
    due_now: Annotated[
        Money,
        Meta(
            description=(
                "Charged at once: the new plan for the rest of the period, less the unused part of the present one."
            ),
            examples=[{"amount": 4120, "currency": "usd"}],
        ),
    ]
    lines: Annotated[list[PreviewLine], Meta(description="What `due_now` is made of; empty where nothing is due.")]
    balance_used: Annotated[
        Money, Meta(description="What your balance pays of it.", examples=[{"amount": 0, "currency": "usd"}])
    ]
    next_invoice: Annotated[NextInvoice, Meta(description="The invoice after this change.")]
    proration_date: Annotated[
        datetime,
        Meta(description="Send it back with the change, so that this is charged.", examples=["2026-11-22T16:00:00Z"]),
    ]
    valid_until: Annotated[
        datetime, Meta(description="Until when the change may name this preview.", examples=["2026-11-22T16:10:00Z"])
    ]
    price: Annotated[
        Money, Meta(description="Charged for each later period and all licenses, before taxes and discounts.")
    ]
    limits: Annotated[
        dict[str, LimitToCome],
        Meta(
            description="The limits to come, by resource.",
            examples=[
                {"accounts": {"used": 3, "limit": 5, "over": 0}, "databases": {"used": 7, "limit": 50, "over": 0}}
            ],
        ),
    ]


def future_limits(license_: License | Record, plan: Plan | Record, used: Mapping[str, int]) -> dict[str, LimitToCome]:
    """`license_` has overrides, and `plan` limits. A total below zero, after reports out of order, counts as 0."""
    limits = limits_on(plan, license_.limit_overrides)
    return {name: _limit(used.get(name, 0), limits[f"max_{name}"]) for name in RESOURCES}


def _limit(used: int, limit: int | None) -> LimitToCome:
    used = max(0, used)
    return LimitToCome(used, limit, 0 if limit is None else max(0, used - limit))


def _pending(row: Record) -> PendingChange | None:
    if row.pending_plan_id is None or row.pending_interval is None:
        return None
    return PendingChange(
        plan_id=row.pending_plan_id,
        plan=row.pending_plan,
        interval=row.pending_interval,
        quantity=row.quantity if row.pending_quantity is None else row.pending_quantity,
        takes_effect_at=row.pending_from,
        payment_url=row.pending_payment_url,
        over=_over(future_limits(row, row, row.used or {})),
    )


def _over(limits: Mapping[str, LimitToCome]) -> dict[str, int]:
    return {name: limit.over for name, limit in limits.items() if limit.over}


class Cancelled(SubscriptionView, frozen=True, kw_only=True):
    """The subscription after its cancellation, and what that means."""

    ends_at: Annotated[
        datetime, Meta(description="When the subscription and its license end.", examples=["2026-12-22T16:00:00Z"])
    ]
    charges: Annotated[Money, Meta(description="What will still be charged: nothing.")]
    credit: Annotated[Money, Meta(description="What went to your balance for the rest of the paid period.")]

    @classmethod
    def of_both(cls, view: SubscriptionView, outcome: CancelOutcome) -> "Cancelled":
        return cls(**msgspec.structs.asdict(view) | msgspec.structs.asdict(outcome))
