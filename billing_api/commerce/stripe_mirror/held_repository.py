"""SQL of the licenses that a subscription pays for, and of trials."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.gateways.stripe.facts import SubscriptionFacts
from db.models.commerce import Checkout, LicenseSubscription, Subscription, Trial
from db.models.licensing import License
from db.unit_of_work import SystemTransaction


class Held(NamedTuple):
    """A license that a subscription pays for, locked."""

    license: License
    link: LicenseSubscription


async def lock_held(tx: SystemTransaction, subscription_id: UUID) -> list[Held]:
    """Those that it pays for now, the first first. Licenses are locked in one order by every transaction."""
    statement = (
        select(License, LicenseSubscription)
        .join(LicenseSubscription, LicenseSubscription.license_id == License.id)
        .where(LicenseSubscription.subscription_id == subscription_id, LicenseSubscription.ended_at.is_(None))
        .order_by(License.id)
        .with_for_update()
    )
    held = [Held(*row) for row in await tx.session.execute(statement)]
    return sorted(held, key=lambda one: one.link.position)


def link(subscription: Subscription, license_: License, position: int, now: datetime) -> LicenseSubscription:
    return LicenseSubscription(
        subscription_id=subscription.id,
        license_id=license_.id,
        user_id=subscription.user_id,
        position=position,
        created_at=now,
    )


async def next_position(tx: SystemTransaction, subscription_id: UUID) -> int:
    mine = select(LicenseSubscription.position).where(LicenseSubscription.subscription_id == subscription_id)
    return max((await tx.session.scalars(mine)).all(), default=-1) + 1


async def close_links(tx: SystemTransaction, subscription_id: UUID, now: datetime) -> None:
    """It pays for none any more: what follows for this subscription concerns no license."""
    mine = (LicenseSubscription.subscription_id == subscription_id, LicenseSubscription.ended_at.is_(None))
    await tx.session.execute(update(LicenseSubscription).where(*mine).values(ended_at=now))


async def claim_trial(tx: SystemTransaction, checkout: Checkout, facts: SubscriptionFacts) -> bool:
    """Whether the trial is this checkout's: neither the user nor the card had one before."""
    if facts.card_fingerprint is None:
        return False
    values = {
        "user_id": checkout.user_id,
        "card_fingerprint": facts.card_fingerprint,
        "checkout_id": checkout.id,
    }
    await tx.session.execute(insert(Trial).values(values).on_conflict_do_nothing())
    mine = select(Trial.user_id).where(Trial.checkout_id == checkout.id)
    return await tx.session.scalar(mine) is not None


async def licenses_of(tx: SystemTransaction, subscription_id: UUID) -> Sequence[License]:
    """Those that it pays for now, locked, the first first."""
    return [one.license for one in await lock_held(tx, subscription_id)]
