"""Subscriptions on the wire."""

from datetime import datetime
from uuid import UUID

import msgspec

from db.models.commerce import Subscription, SubscriptionStatus
from db.models.licensing import Interval


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """`cancel_at_period_end`: it will not be renewed."""

    id: UUID
    license_id: UUID
    plan_id: UUID
    interval: Interval
    status: SubscriptionStatus
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Subscription) -> "SubscriptionView":
        return msgspec.convert(row, cls, from_attributes=True)
