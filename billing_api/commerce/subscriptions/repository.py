"""Subscription repository: every SQL statement about subscriptions and requested changes."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from billing_api.commerce.subscriptions.views import SubscriptionDetails
from core.errors import NotFound
from db.clock import NOW
from db.models.commerce import LicenseSubscription, PlanChange, Subscription
from db.models.identity import User
from db.models.licensing import License, Plan
from db.models.usage import LicenseUsage
from db.paging import Order
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

_KEPT_BY_STRIPE: Final = timedelta(hours=23)
NEWEST_FIRST: Final = Order(Subscription.created_at, Subscription.id)
_Pending = aliased(Plan, name="pending_plan")


class StripeIds(NamedTuple):
    subscription_id: str
    customer_id: str


def details() -> Select[Subscription, License, Plan, Plan]:
    """Rows for `SubscriptionDetails`: the subscriptions that the session may see."""
    return (
        select(Subscription, License, Plan, _Pending)
        .join(License, License.id == Subscription.license_id)
        .join(Plan, Plan.id == Subscription.plan_id)
        .outerjoin(_Pending, _Pending.id == Subscription.pending_plan_id)
    )


async def one(tx: Transaction, subscription_id: UUID) -> SubscriptionDetails:
    row = (await tx.session.execute(details().where(Subscription.id == subscription_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such subscription; check its id")
    return SubscriptionDetails(*row)


async def usage_of(tx: Transaction, license_ids: Iterable[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    """The usage of each license. Totals that are below zero, after reports out of order, count as 0."""
    columns = (LicenseUsage.license_id, LicenseUsage.resource, LicenseUsage.used)
    rows = await tx.session.execute(select(*columns).where(LicenseUsage.license_id.in_(list(license_ids))))
    usage: dict[UUID, dict[str, int]] = defaultdict(dict)
    for license_id, resource, used in rows:
        usage[license_id][resource] = max(0, used)
    return usage


async def stripe_ids(tx: CustomerTransaction, subscription_id: UUID) -> StripeIds:
    """Stripe's ids of the subscription; NotFound also for another customer's."""
    statement = (
        select(Subscription.stripe_subscription_id, customer_at_stripe())
        .join(User, User.id == Subscription.user_id)
        .where(Subscription.id == subscription_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    if row is None or row[1] is None:
        raise NotFound("there is no such subscription; check its id")
    return StripeIds(row[0], row[1])


async def stored_change(tx: CustomerTransaction, change_id: UUID) -> PlanChange | None:
    return await tx.session.get(PlanChange, change_id)


async def is_forgotten_by_stripe(tx: CustomerTransaction, change_id: UUID) -> bool:
    """Whether the change is so old that Stripe may carry out its idempotency key, kept for a day, a second time."""
    old = select(PlanChange.id).where(PlanChange.id == change_id, PlanChange.created_at < NOW - _KEPT_BY_STRIPE)
    return await tx.session.scalar(old) is not None


async def write_change(tx: CustomerTransaction, **values: Any) -> None:
    """Writes the request. A retry after a request that died may find it written already."""
    await tx.session.execute(insert(PlanChange).values(**values).on_conflict_do_nothing())


async def license_ids(tx: Transaction, subscription_id: UUID) -> set[UUID]:
    """The licenses that it pays for now."""
    mine = (LicenseSubscription.subscription_id == subscription_id, LicenseSubscription.ended_at.is_(None))
    return set(await tx.session.scalars(select(LicenseSubscription.license_id).where(*mine)))


async def name_leaving(tx: SystemTransaction, subscription_id: UUID, leaving: Collection[UUID]) -> None:
    """Notes which licenses end when the quantity falls, in place of those that were named before."""
    mine = (LicenseSubscription.subscription_id == subscription_id, LicenseSubscription.ended_at.is_(None))
    named = LicenseSubscription.license_id.in_(list(leaving))
    await tx.session.execute(update(LicenseSubscription).where(*mine).values(ends_with_period=named))
