"""Subscription schemas: requests and answers as JSON."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from billing_api.commerce.subscriptions.views import SubscriptionDetails
from billing_api.licensing.licenses.terms import limits_on
from core.licensing.plan import RESOURCES
from core.money import Money
from db.models.commerce import SubscriptionStatus
from db.models.licensing import Interval, License, Plan


class PendingChange(msgspec.Struct, frozen=True, kw_only=True):
    """The change takes effect at `takes_effect_at`, or if that is null, as soon as it is paid.

    `payment_url`: where the customer confirms the payment with the bank. `over`: by how much present usage exceeds the
    future limits, for each resource that does. Nothing is deleted then, but nothing more can be created.
    """

    plan_id: UUID
    plan: str
    interval: Interval
    takes_effect_at: datetime | None
    payment_url: str | None
    over: dict[str, int]


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """`cancel_at_period_end`: the subscription will not be renewed."""

    id: UUID
    license_id: UUID
    plan_id: UUID
    plan: str
    interval: Interval
    status: SubscriptionStatus
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    pending_change: PendingChange | None
    created_at: datetime

    @classmethod
    def of(cls, details: SubscriptionDetails, used: Mapping[str, int]) -> "SubscriptionView":
        row = details.subscription
        return cls(
            id=row.id,
            license_id=row.license_id,
            plan_id=row.plan_id,
            plan=details.plan.name,
            interval=row.interval,
            status=row.status,
            current_period_start=row.current_period_start,
            current_period_end=row.current_period_end,
            cancel_at_period_end=row.cancel_at_period_end,
            pending_change=_pending(details, used),
            created_at=row.created_at,
        )


class ChangeGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan_id: UUID
    interval: Interval


class LimitToCome(msgspec.Struct, frozen=True):
    """`limit` null is unlimited. `over`: by how much present usage exceeds it."""

    used: int
    limit: int | None
    over: int


class ChangePreview(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a change, if it were made now.

    `due_now` is charged at once: the new plan for the rest of the period, less the unused part of the present plan.
    `price` is charged for each later period, before taxes and discounts. `takes_effect_at` null: once it is paid.
    """

    direction: Literal["upgrade", "downgrade"]
    plan_id: UUID
    plan: str
    interval: Interval
    takes_effect_at: datetime | None
    due_now: Money
    price: Money
    limits: dict[str, LimitToCome]


def future_limits(license_: License, plan: Plan, used: Mapping[str, int]) -> dict[str, LimitToCome]:
    limits = limits_on(plan, license_.limit_overrides)
    return {name: _limit(used.get(name, 0), limits[f"max_{name}"]) for name in RESOURCES}


def _limit(used: int, limit: int | None) -> LimitToCome:
    return LimitToCome(used, limit, 0 if limit is None else max(0, used - limit))


def _pending(details: SubscriptionDetails, used: Mapping[str, int]) -> PendingChange | None:
    row, plan = details.subscription, details.pending_plan
    if plan is None or row.pending_interval is None:
        return None
    limits = future_limits(details.license, plan, used)
    return PendingChange(
        plan_id=plan.id,
        plan=plan.name,
        interval=row.pending_interval,
        takes_effect_at=row.pending_from,
        payment_url=row.pending_payment_url,
        over={name: limit.over for name, limit in limits.items() if limit.over},
    )
