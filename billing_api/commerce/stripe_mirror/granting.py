"""License granting: the one place where a paid Stripe invoice becomes a license.

A license is made when, and only when, the subscription's invoice is paid: in the transaction that writes the payment,
under the lock of the Stripe customer. A checkout's first license names it (a unique column of `licenses` holds that),
and all of them are written in one transaction. So an event that comes twice finds the licenses that the first one made.
"""

from datetime import datetime, timedelta
from uuid import UUID

from billing_api.access.staff_reason import StaffReason
from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.stripe_mirror import repository
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.licensing.licenses.issuing import Term, issue
from billing_api.licensing.licenses.repository import lock as lock_license
from billing_api.licensing.licenses.repository import of_checkout
from billing_api.licensing.licenses.standing import bring_back, change_standing
from core.errors import IllegalMove, Unavailable
from core.licensing.state import Event, Status
from core.settings import Secrets
from core.telemetry import logger
from db.models.commerce import Checkout, CheckoutStatus
from db.models.identity import User
from db.models.licensing import License, Plan
from db.unit_of_work import SystemTransaction


class CannotMirror(Unavailable):
    """Stripe's object does not fit our rows. The caller retries later; an admin sees the reason."""


def term_of(facts: SubscriptionFacts, grace: timedelta) -> Term:
    """`grace`: how long a license stays valid after an unpaid renewal; not at all where the customer canceled."""
    grace_until = None if facts.ends_with_period else facts.period_end + grace
    return Term(facts.period_start, facts.period_end, grace_until)


async def grant_licenses(
    tx: SystemTransaction, secrets: Secrets, user: User, facts: SubscriptionFacts, plan: Plan, now: datetime
) -> list[License]:
    """The licenses of a paid subscription, issued now; the one that its checkout names comes back instead.

    Empty where the subscription has no checkout of ours; CannotMirror where it names another customer's checkout.
    """
    # 1. Find and lock the checkout, and check that it belongs to this customer.
    checkout = await checkout_of(tx, user, facts)
    if checkout is None:
        return []
    # 2. Issue the licenses, if an earlier event has not done it.
    first = await of_checkout(tx, checkout.id)
    if first is not None:
        checkout.status = CheckoutStatus.COMPLETE
        return [first]
    term = term_of(facts, (await policy_in_force(tx)).grace)
    back = await _bring_back(tx, checkout, plan, term, now)
    granted = [] if back is None else [back]
    while len(granted) < facts.quantity:
        named = checkout.id if not granted else None
        granted.append(await issue_one(tx, secrets, user.id, plan, term, checkout_id=named))
    checkout.status = CheckoutStatus.COMPLETE
    return granted


async def checkout_of(tx: SystemTransaction, user: User, facts: SubscriptionFacts) -> Checkout | None:
    """The checkout that the subscription comes from, locked."""
    if facts.checkout_id is None:
        return None
    checkout = await repository.checkout(tx, facts.checkout_id)
    if checkout is None or checkout.user_id != user.id:
        raise CannotMirror(
            f"subscription {facts.id} names a checkout of another customer; correct its metadata at Stripe"
        )
    return checkout


async def issue_one(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, plan: Plan, term: Term, *, checkout_id: UUID | None
) -> License:
    """A license that a subscription pays for. `checkout_id`: for the first one of a purchase alone."""
    made = await issue(tx, secrets, user_id=user_id, plan=plan, term=term, checkout_id=checkout_id, renews=True)
    await tx.audit("license.issued", "license", made.license.id, plan=plan.name)
    logger().info("license.issued", license_id=str(made.license.id), checkout_id=str(checkout_id))
    return made.license


async def _bring_back(
    tx: SystemTransaction, checkout: Checkout, plan: Plan, term: Term, now: datetime
) -> License | None:
    """The license that the checkout names. None: it names none, or another checkout was quicker to bring it back.

    Two checkouts may name one license and both be paid. The second is a purchase like any other, of another license.
    """
    if checkout.license_id is None:
        return None
    license_ = await lock_license(tx, checkout.license_id)
    if license_.status is Status.ACTIVE and _is_over(license_, now):
        await change_standing(tx, license_, Event.LAPSED, StaffReason(None), now)
    try:
        await bring_back(tx, license_, plan, term, checkout_id=checkout.id, now=now)
    except IllegalMove:
        told = {"checkout": str(checkout.id), "status": license_.status}
        await tx.audit("license.not_bought_again", "license", license_.id, **told)
        logger().warning("license.not_bought_again", license_id=str(license_.id), checkout_id=str(checkout.id))
        return None
    return license_


def _is_over(license_: License, now: datetime) -> bool:
    """Whether its last instant has passed; the sweep that writes this down may come later."""
    ends = [instant for instant in (license_.expiry_date, license_.grace_until) if instant is not None]
    return license_.expiry_date is not None and max(ends) <= now
