"""Repository of what customers read of their subscriptions: each read is one statement (db/reads.py)."""

from typing import Final

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import aliased

from billing_api.commerce.subscriptions.repository import NEWEST_FIRST
from core.licensing.plan import LIMITS
from db.models.commerce import Subscription
from db.models.licensing import License, Plan
from db.models.usage import LicenseUsage
from db.reads import OwnList, OwnStatement

_Pending = aliased(Plan, name="pending_plan")
_USED: Final = (
    select(func.jsonb_object_agg(LicenseUsage.resource, LicenseUsage.used))
    .where(LicenseUsage.license_id == Subscription.license_id)
    .correlate(Subscription)
    .scalar_subquery()
)
_OWN: Final = (
    select(
        Subscription.id,
        Subscription.license_id,
        Subscription.plan_id,
        Plan.name.label("plan"),
        Subscription.interval,
        Subscription.status,
        Subscription.current_period_start,
        Subscription.current_period_end,
        Subscription.cancel_at_period_end,
        Subscription.created_at,
        Subscription.pending_plan_id,
        _Pending.name.label("pending_plan"),
        Subscription.pending_interval,
        Subscription.pending_from,
        Subscription.pending_payment_url,
        *(getattr(_Pending, limit) for limit in LIMITS),
        License.limit_overrides,
        case((Subscription.pending_plan_id.is_not(None), _USED)).label("used"),
    )
    .join(License, License.id == Subscription.license_id)
    .join(Plan, Plan.id == Subscription.plan_id)
    .outerjoin(_Pending, _Pending.id == Subscription.pending_plan_id)
)
"""A subscription with its pending plan and what a change to it is compared with: limits of that plan, and usage."""

OWN_LIST: Final = OwnList(_OWN, NEWEST_FIRST)
OWN_ONE: Final = OwnStatement(_OWN.where(Subscription.id == bindparam("subscription_id", type_=Subscription.id.type)))
