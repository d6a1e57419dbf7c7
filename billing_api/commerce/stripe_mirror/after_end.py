"""Money that comes for what has ended goes back by itself: at once, and once for each charge.

A subscription that was given up leaves its last invoice open, and its owner, or a new card, may still pay it. That
would be money without service. So an invoice is refunded that charges for a time after the subscription's end and was
paid after it. The order is a row with a unique index, in the transaction that writes the payment. A job has Stripe
carry it out. The owner is told, with a link that buys the same license again; staff see it among the
payments, in the audit trail and in the log.
"""

from datetime import datetime

from billing_api.commerce.billing_details.repository import recipient_of_bills
from billing_api.commerce.stripe_mirror import money_back_repository as repository
from billing_api.commerce.stripe_mirror.money_back_repository import GIVEN_BACK
from billing_api.gateways.stripe.facts import InvoiceFacts
from billing_api.notifications.mails.service import queue_mail
from core.jobs import SendRefund
from core.money import Money
from core.telemetry import logger
from db.models.commerce import Payment, PaymentStatus, Subscription
from db.models.identity import User
from db.unit_of_work import SystemTransaction


def comes_after_end(invoice: InvoiceFacts, ended_at: datetime | None, *, was_unpaid_then: bool) -> bool:
    """Whether this was paid for a time after the end, after the end.

    `was_unpaid_then`: our rows had the end and not the payment. It decides within one second, which is Stripe's unit.
    """
    if ended_at is None or invoice.status != "paid" or invoice.paid_at is None:
        return False
    later = invoice.paid_at > ended_at or (was_unpaid_then and invoice.paid_at >= ended_at.replace(microsecond=0))
    return later and any(one.until > ended_at for one in invoice.charges)


async def give_back(
    tx: SystemTransaction, user: User, subscription: Subscription, invoice: InvoiceFacts, now: datetime
) -> None:
    """Orders the refund of everything that the invoice's payments took and that is not back yet."""
    for one in invoice.payments:
        payment = await repository.lock_payment(tx, one.intent_id)
        if payment is None or payment.status is not PaymentStatus.SUCCEEDED:
            continue
        given = sum(row.amount for row in await repository.refunds_of(tx, payment) if row.status in GIVEN_BACK)
        if payment.amount <= given:
            continue
        refund_id = await repository.order_after_end(tx, payment, payment.amount - given, now)
        if refund_id is None:
            continue
        payment.refunded = payment.amount
        await tx.enqueue(SendRefund(refund_id))
        told = {"refund": str(refund_id), "amount": payment.amount - given, "subscription": str(subscription.id)}
        await tx.audit("payment.came_after_end", "payment", payment.id, **told)
        logger().warning("payment.came_after_end", payment_id=str(payment.id), refund_id=str(refund_id))
        await _tell(tx, user, subscription, payment, Money(payment.amount - given, payment.currency), now)


async def _tell(
    tx: SystemTransaction, user: User, subscription: Subscription, payment: Payment, back: Money, now: datetime
) -> None:
    if user.deleted_at is not None:
        return
    await queue_mail(
        tx,
        "payment_returned",
        user_id=user.id,
        recipient=await recipient_of_bills(tx, user),
        occasion=str(payment.id),
        now=now,
        parameters={
            "amount": str(back),
            "license_id": str(subscription.license_id),
        },
    )
