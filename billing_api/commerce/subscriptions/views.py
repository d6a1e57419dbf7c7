"""Subscription read model: a subscription with the rows that its view needs."""

from typing import NamedTuple

from db.models.commerce import Subscription
from db.models.licensing import License, Plan


class SubscriptionDetails(NamedTuple):
    """A subscription with its license, its plan and its pending plan."""

    subscription: Subscription
    license: License
    plan: Plan
    pending_plan: Plan | None
