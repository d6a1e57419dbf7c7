"""Trials: one for each user and for each card.

Which card it is turns out on Stripe's page. So a trial that nobody may have is ended before anything is issued or
charged, and its checkout says why.
"""

from typing import Final

from billing_api.commerce.stripe_mirror.granting import checkout_of
from billing_api.commerce.stripe_mirror.held_repository import claim_trial
from billing_api.gateways.stripe.endings import StripeEndings
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.telemetry import logger
from db.models.commerce import CheckoutStatus
from db.models.identity import User
from db.unit_of_work import SystemTransaction

TRIAL_USED: Final = "trial_used"


async def admit_trial(tx: SystemTransaction, user: User, facts: SubscriptionFacts, endings: StripeEndings) -> bool:
    """False where it is a trial that the user, or somebody with this card, had before; it is ended at Stripe then."""
    checkout = await checkout_of(tx, user, facts)
    if checkout is None or not checkout.is_trial:
        return True
    if checkout.refused_because is not None:
        return False
    if await claim_trial(tx, checkout, facts):
        return True
    await endings.end(facts.id)
    checkout.status, checkout.refused_because = CheckoutStatus.EXPIRED, TRIAL_USED
    await tx.audit("trial.refused", "user", user.id, checkout=str(checkout.id))
    logger().info("trial.refused", checkout_id=str(checkout.id))
    return False
