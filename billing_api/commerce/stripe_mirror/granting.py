"""License granting: the one place where a paid Stripe invoice becomes a license.

A license is made when, and only when, the subscription's invoice is paid: in the transaction that writes the payment,
under the lock of the Stripe customer. A checkout has at most one license (a unique column of `licenses` holds that), so
an event that comes twice finds the license that the first one made.
"""

from datetime import timedelta

from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.stripe_mirror import repository
from billing_api.gateways.stripe.facts import SubscriptionFacts
from billing_api.licensing.licenses.issuing import Term, issue
from billing_api.licensing.licenses.repository import of_checkout
from core.errors import Unavailable
from core.settings import Secrets
from core.telemetry import logger
from db.models.commerce import CheckoutStatus
from db.models.identity import User
from db.models.licensing import License, Plan
from db.unit_of_work import SystemTransaction


class CannotMirror(Unavailable):
    """Stripe's object does not fit our rows. The caller retries later; an admin sees the reason."""


def term_of(facts: SubscriptionFacts, grace: timedelta) -> Term:
    """`grace`: how long a license stays valid after an unpaid renewal; not at all where the customer canceled."""
    grace_until = None if facts.ends_with_period else facts.period_end + grace
    return Term(facts.period_start, facts.period_end, grace_until)


async def grant_license(
    tx: SystemTransaction, secrets: Secrets, user: User, facts: SubscriptionFacts, plan: Plan
) -> License | None:
    """The license of a paid subscription: issued now, or found if it was issued before.

    None where the subscription has no checkout of ours; CannotMirror where it names another customer's checkout.
    """
    # 1. Find and lock the checkout, and check that it belongs to this customer.
    if facts.checkout_id is None:
        return None
    checkout = await repository.checkout(tx, facts.checkout_id)
    if checkout is None or checkout.user_id != user.id:
        raise CannotMirror(
            f"subscription {facts.id} names a checkout of another customer; correct its metadata at Stripe"
        )
    # 2. Issue the license, if an earlier event has not done it.
    license_ = await of_checkout(tx, checkout.id)
    if license_ is None:
        term = term_of(facts, (await policy_in_force(tx)).grace)
        made = await issue(tx, secrets, user_id=user.id, plan=plan, term=term, checkout_id=checkout.id)
        license_ = made.license
        await tx.audit("license.issued", "license", license_.id, plan=plan.name)
        logger().info("license.issued", license_id=str(license_.id), checkout_id=str(checkout.id))
    checkout.status = CheckoutStatus.COMPLETE
    return license_
