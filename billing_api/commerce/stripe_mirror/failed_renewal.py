"""A renewal that nobody paid, as the mirror sees it: the first failed try, and the end where Stripe gave up.

The steps between the two are ours (billing_api/commerce/dunning/).
"""

from datetime import datetime
from uuid import UUID

from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.stripe_mirror import repository
from billing_api.commerce.stripe_mirror.held_repository import licenses_of
from billing_api.commerce.stripe_mirror.repository import KnownInvoice
from billing_api.gateways.stripe.facts import InvoiceFacts
from core.telemetry import logger
from db.models.commerce import Subscription
from db.unit_of_work import SystemTransaction


async def note_first_failure(
    tx: SystemTransaction,
    invoice: InvoiceFacts,
    before: KnownInvoice | None,
    invoice_id: UUID,
    subscription: Subscription,
    now: datetime,
) -> None:
    """Notes day 0, and lets the licenses go on until the day that suspends it.

    Stripe tries when it finalizes the invoice, so that is day 0, however late the webhook comes. A payment that was on
    its way at a bank for days has failed now.
    """
    was_on_its_way = before is not None and before.on_its_way
    failed_at = now if was_on_its_way or invoice.finalized_at is None else invoice.finalized_at
    await repository.note_first_failure(tx, invoice_id, failed_at)
    logger().info("invoice.first_try_failed", invoice=invoice.id, failed_at=failed_at.isoformat())
    if subscription.ended_at is not None or subscription.cancel_at_period_end:
        return
    # Stripe finalizes an invoice about an hour after the period's end, from which the grace was counted until now.
    goes_on = failed_at + (await policy_in_force(tx)).grace
    for license_ in await licenses_of(tx, subscription.id):
        if license_.grace_until is not None and license_.grace_until < goes_on:
            license_.grace_until = goes_on


async def note_given_up(tx: SystemTransaction, subscription: Subscription, now: datetime) -> None:
    """Tells staff, once, that Stripe ended a subscription that our own steps should have ended."""
    logger().error("subscription.given_up_by_stripe", subscription=subscription.stripe_subscription_id)
    await tx.audit("subscription.given_up_by_stripe", "subscription", subscription.id, noticed_at=now.isoformat())
