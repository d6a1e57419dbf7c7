"""The licenses of a subscription follow it together: its plan, its paid period, its number of them, and its end.

A subscription with a quantity pays for that many licenses. More are issued once an invoice with that quantity is paid.
Fewer end with the period that was paid: those that their owner named, else the youngest.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing_api.access.staff_reason import StaffReason
from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.stripe_mirror import held_repository as repository
from billing_api.commerce.stripe_mirror.granting import issue_one, term_of
from billing_api.commerce.stripe_mirror.held_repository import Held
from billing_api.commerce.stripe_mirror.plan_following import Billed, follow_plan
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.licensing.licenses.standing import change_standing
from billing_api.licensing.licenses.terms import set_paid_period
from core.licensing.state import Event, Status
from core.settings import Secrets
from core.telemetry import logger
from db.models.commerce import Subscription
from db.models.licensing import License
from db.unit_of_work import SystemTransaction

_ENDED: Final = "the subscription ended"
_FEWER: Final = "the subscription pays for fewer licenses"


async def follow_running(
    tx: SystemTransaction, secrets: Secrets, row: Subscription, facts: SubscriptionFacts, billed: Billed, now: datetime
) -> None:
    """Makes the licenses of a subscription that has not ended agree with it."""
    held = await _follow_fewer(tx, row, facts, await repository.lock_held(tx, row.id), now)
    licenses = [one.license for one in held]
    await follow_plan(tx, row, licenses, facts, billed, now)
    paid = billed.paid is not None and billed.paid.pays_until(facts.period_end)
    if billed.paid is not None and billed.paid.pays_until(facts.period_end, facts.price_id, facts.quantity):
        licenses += await _issue_more(tx, secrets, row, facts, billed, len(held), now)
    # One that a decision of ours has ended stays as it is, also before Stripe has carried that out.
    for license_ in (one for one in licenses if one.status is not Status.CANCELLED):
        if paid:
            set_paid_period(license_, term_of(facts, (await policy_in_force(tx)).grace))
            await _is_paid(tx, license_, now)
        elif facts.ends_with_period:
            license_.grace_until = None
        license_.auto_renew = not facts.ends_with_period
    _let_leaving_run_out(facts, held)
    row.quantity = len(licenses)


def _let_leaving_run_out(facts: SubscriptionFacts, held: Sequence[Held]) -> None:
    """Those that their owner named are not renewed while fewer are planned."""
    if facts.scheduled is None or facts.scheduled.quantity >= facts.quantity:
        return
    for one in held:
        if one.link.ends_with_period:
            one.license.auto_renew, one.license.grace_until = False, None


async def follow_end(tx: SystemTransaction, row: Subscription, now: datetime) -> None:
    """Ends its licenses. Once: a license that is bought again later belongs to another subscription."""
    for one in await repository.lock_held(tx, row.id):
        await _end(tx, one.license, _ENDED, now)
        one.license.auto_renew = False
    await repository.close_links(tx, row.id, now)


async def let_run_out(tx: SystemTransaction, row: Subscription, now: datetime) -> Sequence[License]:
    """Nothing is charged any more, and what was paid goes on. Returns the licenses."""
    licenses = await repository.licenses_of(tx, row.id)
    for license_ in licenses:
        license_.auto_renew, license_.grace_until = False, None
    await repository.close_links(tx, row.id, now)
    return licenses


async def _issue_more(
    tx: SystemTransaction,
    secrets: Secrets,
    row: Subscription,
    facts: SubscriptionFacts,
    billed: Billed,
    known: int,
    now: datetime,
) -> list[License]:
    """The licenses that were paid for and are not there yet."""
    term = term_of(facts, (await policy_in_force(tx)).grace)
    made = []
    position = await repository.next_position(tx, row.id) if facts.quantity > known else 0
    for place in range(position, position + facts.quantity - known):
        license_ = await issue_one(tx, secrets, row.user_id, billed.plan, term, checkout_id=None)
        tx.session.add(repository.link(row, license_, place, now))
        made.append(license_)
    await tx.session.flush()
    return made


async def _follow_fewer(
    tx: SystemTransaction, row: Subscription, facts: SubscriptionFacts, held: list[Held], now: datetime
) -> list[Held]:
    """Ends those that are too many once what was paid for them is over; returns the others."""
    too_many = len(held) - facts.quantity
    # If our clock is behind Stripe's, the start of Stripe's period counts.
    if too_many <= 0 or max(now, facts.period_start) < row.plan_paid_until:
        return held
    leaving = sorted(held, key=lambda one: (not one.link.ends_with_period, -one.link.position))[:too_many]
    for one in leaving:
        one.link.ended_at = now
        await _end(tx, one.license, _FEWER, now)
        one.license.auto_renew = False
    staying = [one for one in held if one.link.ended_at is None]
    row.license_id = staying[0].license.id
    await tx.session.flush()
    return staying


async def _end(tx: SystemTransaction, license_: License, why: str, now: datetime) -> None:
    """Ends the license, unless staff extended it."""
    given = license_.extended_until
    if license_.status is Status.CANCELLED or (given is not None and given > now):
        return
    license_.grace_until = None
    await change_standing(tx, license_, Event.CANCELLED, StaffReason(why, why), now)
    await tx.audit("license.cancelled", "license", license_.id, message=why)
    logger().info("license.ended_with_subscription", license_id=str(license_.id))


async def _is_paid(tx: SystemTransaction, license_: License, now: datetime) -> None:
    """The present period is paid: an expired license is in force again, and `unpaid` suspends none."""
    if license_.status in {Status.SUSPENDED, Status.EXPIRED}:
        await change_standing(tx, license_, Event.PAID, StaffReason(None), now)
