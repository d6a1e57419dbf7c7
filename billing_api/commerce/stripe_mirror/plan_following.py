"""Plan changes: the license follows the subscription's price, up when paid, down at the end of the period.

Stripe's subscription says what is billed. Our row and its license say what is in force. Where the two differ the rules
of core/licensing/plan_change.py decide, for a change by a customer through our routes, where Stripe's price
moves only when ours may follow, or one made by hand at Stripe. What is still to come is shown as pending.
"""

from datetime import datetime
from typing import NamedTuple

from billing_api.commerce.plans.repository import of_price
from billing_api.gateways.stripe.facts import InvoiceFacts, SubscriptionFacts
from billing_api.licensing.licenses.terms import take_plan
from core.licensing.plan_change import Direction, Offer, direction, is_in_force
from core.telemetry import logger
from db.models.commerce import Subscription
from db.models.licensing import Interval, License, Plan
from db.unit_of_work import SystemTransaction


class Billed(NamedTuple):
    """What Stripe charges for, the newest paid invoice, and the newest of all, which may still be to pay."""

    plan: Plan
    interval: Interval
    paid: InvoiceFacts | None
    latest: InvoiceFacts | None


class Pending(NamedTuple):
    plan: Plan
    interval: Interval
    starts_at: datetime | None
    """None: as soon as it is paid."""


async def follow_plan(
    tx: SystemTransaction, row: Subscription, license_: License, facts: SubscriptionFacts, billed: Billed, now: datetime
) -> None:
    """Makes row and license agree with what is billed, or shows what keeps them from it."""
    in_force = await tx.session.get_one(Plan, license_.plan_id)
    way = direction(offer(in_force, row.interval), offer(billed.plan, billed.interval))
    until = facts.period_end
    paid = billed.paid is not None and billed.paid.pays_until(until, facts.price_id)
    # A clock that is behind Stripe's must not keep back what Stripe's period says has come.
    moment = max(now, facts.period_start)
    pending: Pending | None = None
    if is_in_force(way, paid=paid, plan_paid_until=row.plan_paid_until, now=moment):
        row.plan_id, row.interval = billed.plan.id, billed.interval
        if license_.plan_id != billed.plan.id:
            await take_plan(tx, license_, billed.plan)
            logger().info("license.plan_changed", license_id=str(license_.id), plan=billed.plan.name, way=way)
        if billed.paid is not None and billed.paid.pays_until(until):
            row.plan_paid_until = until
        pending = await _to_come(tx, facts)
    else:
        starts_at = row.plan_paid_until if way is Direction.DOWNGRADE else None
        pending = Pending(billed.plan, billed.interval, starts_at)
    show_pending(row, pending, billed.latest)


def offer(plan: Plan, interval: Interval) -> Offer:
    return Offer(plan.id, plan.price_monthly, interval.value)


async def _to_come(tx: SystemTransaction, facts: SubscriptionFacts) -> Pending | None:
    """An update that waits for its payment, else what the schedule says."""
    if facts.pending_price_id is not None:
        price_id, starts_at = facts.pending_price_id, None
    elif facts.scheduled is not None:
        price_id, starts_at = facts.scheduled.price_id, facts.scheduled.starts_at
    else:
        return None
    sold = await of_price(tx, price_id)
    if sold is None:
        logger().error("mirror.pending_price_unknown", subscription=facts.id, price=price_id)
        return None
    return Pending(*sold, starts_at)


def show_pending(row: Subscription, pending: Pending | None, latest: InvoiceFacts | None) -> None:
    row.pending_plan_id = pending.plan.id if pending else None
    row.pending_interval = pending.interval if pending else None
    row.pending_from = pending.starts_at if pending else None
    waits_for_payment = pending is not None and pending.starts_at is None
    row.pending_payment_url = latest.page_url if waits_for_payment and latest and latest.status == "open" else None
