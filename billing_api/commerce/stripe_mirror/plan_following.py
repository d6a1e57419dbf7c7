"""Plan synchronization: the license follows the plan that Stripe bills.

Stripe's subscription has the plan that is billed. Our row and its license have the plan that is in force. If the two
differ, the rules of core/licensing/plan_change.py decide: an upgrade takes effect when it is paid, a downgrade at the
end of the paid period. They apply to changes through our routes and to changes made by hand at Stripe. A change that
has not taken effect yet is shown as pending.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from billing_api.commerce.plans.repository import of_price
from billing_api.gateways.stripe.facts import InvoiceFacts, SubscriptionFacts
from billing_api.licensing.licenses.terms import apply_plan
from core.licensing.plan_change import Direction, Offer, direction, is_in_force
from core.telemetry import logger
from db.models.commerce import Subscription
from db.models.licensing import Interval, License, Plan
from db.unit_of_work import SystemTransaction


class Billed(NamedTuple):
    """The plan and interval that Stripe bills, the newest paid invoice, and the newest invoice, which may be unpaid."""

    plan: Plan
    interval: Interval
    paid: InvoiceFacts | None
    latest: InvoiceFacts | None


class Pending(NamedTuple):
    plan: Plan
    interval: Interval
    quantity: int
    starts_at: datetime | None
    """None: as soon as it is paid."""


async def follow_plan(
    tx: SystemTransaction,
    row: Subscription,
    licenses: Sequence[License],
    facts: SubscriptionFacts,
    billed: Billed,
    now: datetime,
) -> None:
    """Gives row and licenses the billed plan, or shows it as pending."""
    # 1. Decide whether the billed plan is in force.
    in_force = await tx.session.get_one(Plan, row.plan_id)
    way = direction(offer(in_force, row.interval), offer(billed.plan, billed.interval))
    until = facts.period_end
    paid = billed.paid is not None and billed.paid.pays_until(until, facts.price_id)
    # If our clock is behind Stripe's, the start of Stripe's period counts.
    moment = max(now, facts.period_start)
    # 2. Apply it, or keep it as pending.
    pending: Pending | None = None
    if is_in_force(way, paid=paid, plan_paid_until=row.plan_paid_until, now=moment):
        row.plan_id, row.interval = billed.plan.id, billed.interval
        for license_ in licenses:
            if license_.plan_id != billed.plan.id:
                await apply_plan(tx, license_, billed.plan)
                logger().info("license.plan_changed", license_id=str(license_.id), plan=billed.plan.name, way=way)
        if billed.paid is not None and billed.paid.pays_until(until):
            row.plan_paid_until = until
        pending = await _upcoming(tx, facts)
    else:
        starts_at = row.plan_paid_until if way is Direction.DOWNGRADE else None
        pending = Pending(billed.plan, billed.interval, facts.quantity, starts_at)
    show_pending(row, pending, billed.latest)


async def note_price(tx: SystemTransaction, row: Subscription, unknown: str | None) -> None:
    """Tells staff, once, of a price that no plan has. `unknown`: its id; None where a plan has the price."""
    if unknown is not None and row.unknown_price_id != unknown:
        logger().error("mirror.price_unknown", subscription=row.stripe_subscription_id, price=unknown)
        await tx.audit("subscription.price_unknown", "subscription", row.id, price=unknown)
    row.unknown_price_id = unknown


def offer(plan: Plan, interval: Interval) -> Offer:
    return Offer(plan.id, plan.price_monthly, interval.value)


async def _upcoming(tx: SystemTransaction, facts: SubscriptionFacts) -> Pending | None:
    """The update that waits for its payment; otherwise the next price of the schedule."""
    if facts.pending_price_id is not None:
        price_id, quantity, starts_at = facts.pending_price_id, facts.pending_quantity, None
    elif facts.scheduled is not None:
        price_id, quantity, starts_at = facts.scheduled.price_id, facts.scheduled.quantity, facts.scheduled.starts_at
    else:
        return None
    sold = await of_price(tx, price_id)
    if sold is None:
        logger().error("mirror.pending_price_unknown", subscription=facts.id, price=price_id)
        return None
    return Pending(*sold, quantity, starts_at)


def show_pending(row: Subscription, pending: Pending | None, latest: InvoiceFacts | None) -> None:
    row.pending_plan_id = pending.plan.id if pending else None
    row.pending_interval = pending.interval if pending else None
    row.pending_quantity = pending.quantity if pending else None
    row.pending_from = pending.starts_at if pending else None
    waits_for_payment = pending is not None and pending.starts_at is None
    row.pending_payment_url = latest.page_url if waits_for_payment and latest and latest.status == "open" else None
