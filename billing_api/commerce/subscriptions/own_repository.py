"""Repository of what customers read of their subscriptions: each read is one statement (db/reads.py)."""

from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from billing_api.commerce.subscriptions.repository import NEWEST_FIRST
from core.errors import NotFound
from core.licensing.plan import LIMITS
from db.models.commerce import Invoice, InvoiceStatus, LicenseSubscription, Subscription, SubscriptionStatus
from db.models.licensing import License, Plan
from db.models.usage import LicenseUsage
from db.reads import OwnList, OwnStatement, Record, Statement
from db.unit_of_work import Transaction

_Pending = aliased(Plan, name="pending_plan")
_USED: Final = (
    select(func.jsonb_object_agg(LicenseUsage.resource, LicenseUsage.used))
    .where(LicenseUsage.license_id == Subscription.license_id)
    .correlate(Subscription)
    .scalar_subquery()
)
_LICENSES: Final = (
    select(func.array_agg(aggregate_order_by(LicenseSubscription.license_id, LicenseSubscription.position)))
    .where(
        LicenseSubscription.subscription_id == Subscription.id,
        # Of one that has ended: those that ended with it.
        LicenseSubscription.ended_at.is_(None) | (LicenseSubscription.ended_at >= Subscription.ended_at),
    )
    .correlate(Subscription)
    .scalar_subquery()
)
_OPEN: Final = (
    select(
        func.jsonb_build_object(
            *("amount", Invoice.amount_remaining, "currency", Invoice.currency, "needs_owner", Invoice.needs_owner),
            *("url", Invoice.payment_url, "next_attempt_at", Invoice.next_attempt_at),
        )
    )
    .where(
        Invoice.subscription_id == Subscription.id,
        Invoice.status == InvoiceStatus.OPEN,
        Subscription.status != SubscriptionStatus.CANCELLED,
    )
    .correlate(Subscription)
    .order_by(Invoice.created_at, Invoice.id)
    .limit(1)
    .scalar_subquery()
)
"""The oldest open invoice of a subscription that runs."""
SHOWN: Final = (
    select(
        Subscription.id,
        Subscription.license_id,
        Subscription.quantity,
        Subscription.ends_at,
        Subscription.trial_ends_at,
        _LICENSES.label("license_ids"),
        _OPEN.label("open_payment"),
        Subscription.discount,
        Subscription.next_amount,
        Subscription.renewal_amount,
        Subscription.renewal_currency,
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
        Subscription.pending_quantity,
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
"""A subscription with its licenses and its pending plan; its usage is compared with the limits of that."""

OWN_LIST: Final = OwnList(SHOWN, NEWEST_FIRST)
_WANTED: Final = SHOWN.where(Subscription.id == bindparam("subscription_id", type_=Subscription.id.type))
OWN_ONE: Final = OwnStatement(_WANTED)
_ONE: Final = Statement(_WANTED)


async def one(tx: Transaction, subscription_id: UUID) -> Record:
    """The same row, as the transaction has it by now."""
    rows = await tx.run(_ONE, {"subscription_id": subscription_id})
    if not rows:
        raise NotFound("there is no such subscription; check its id")
    return rows[0]
