"""The end of a license by decision, with its subscription: after a refund, a lost dispute, or unpaid dunning.

The license ends in the caller's transaction. A job of that transaction ends the subscription at Stripe, without a last
invoice. What is paid for it from now on goes back (after_end.py).
"""

from datetime import datetime

from billing_api.access.staff_reason import StaffReason
from billing_api.commerce.stripe_mirror import money_back_repository as repository
from billing_api.licensing.licenses.standing import change_standing
from core.jobs import EndSubscription
from core.licensing.state import Event, Status
from db.models.licensing import License
from db.unit_of_work import SystemTransaction


async def end_license(tx: SystemTransaction, license_: License, said: StaffReason, now: datetime) -> None:
    """Ends it now, also where staff extended it. The license must be locked; a second call changes nothing."""
    if license_.status is not Status.CANCELLED:
        await change_standing(tx, license_, Event.CANCELLED, said, now)
        license_.auto_renew, license_.grace_until, license_.extended_until = False, None, None
        await tx.audit("license.cancelled", "license", license_.id, **said.detail)
    for subscription in await repository.running_subscriptions(tx, license_.id):
        if subscription.ended_at is None:
            subscription.ended_at = now
            await tx.enqueue(EndSubscription(subscription.id))
