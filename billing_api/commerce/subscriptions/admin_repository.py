"""Repository of subscriptions as staff find them: every SQL statement about it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from billing_api.commerce.subscriptions.own_repository import SHOWN
from core.errors import NotFound
from core.mailbox import mailbox_key
from db.models.commerce import LicenseSubscription, Subscription, SubscriptionStatus
from db.models.identity import User
from db.unit_of_work import PrivilegedTransaction


class SubscriptionFilter(NamedTuple):
    """What staff look for; None: whatever it is."""

    status: SubscriptionStatus | None = None
    email: str | None = None
    license_id: UUID | None = None
    """Of any license that it pays for, or paid for."""
    plan_id: UUID | None = None
    stripe_id: str | None = None
    ending: bool | None = None
    """Whether it ends with its period."""
    since: datetime | None = None
    before: datetime | None = None


def for_staff(wanted: SubscriptionFilter) -> Select[*tuple[Any, ...]]:
    """Subscriptions with their owners and their ids at Stripe. Every given condition must be true."""
    more = (Subscription.user_id, Subscription.stripe_subscription_id, Subscription.ended_at, User.email)
    given = {name: value for name, value in wanted._asdict().items() if value is not None}
    conditions = (_MEANS[name](value) for name, value in given.items())
    statement = SHOWN.add_columns(*more, customer_at_stripe().label("customer_id"))
    return statement.join(User, User.id == Subscription.user_id).where(*conditions)


_MEANS: Final[Mapping[str, Callable[[Any], ColumnElement[bool]]]] = {
    "status": lambda status: Subscription.status == status,
    "email": lambda email: User.email_key == mailbox_key(email),
    "license_id": lambda license_id: exists().where(
        LicenseSubscription.subscription_id == Subscription.id, LicenseSubscription.license_id == license_id
    ),
    "plan_id": lambda plan_id: Subscription.plan_id == plan_id,
    "stripe_id": lambda its: Subscription.stripe_subscription_id == its,
    "ending": Subscription.cancel_at_period_end.is_,
    "since": lambda since: Subscription.created_at >= since,
    "before": lambda before: Subscription.created_at < before,
}
"""By the fields of `SubscriptionFilter`."""


async def one_for_staff(tx: PrivilegedTransaction, subscription_id: UUID) -> Any:
    wanted = for_staff(SubscriptionFilter()).where(Subscription.id == subscription_id)
    row = (await tx.session.execute(wanted)).one_or_none()
    if row is None:
        raise NotFound("there is no such subscription: list them with GET admin/subscriptions")
    return row
