"""SQL of money that goes back: a payment with its refunds and disputes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.gateways.stripe.money_back import DisputeFacts, RefundFacts
from core.ids import new_id
from db.models.commerce import Invoice, Payment, PaymentIntent, Subscription, SubscriptionStatus
from db.models.money_back import Dispute, Effect, Refund, RefundOrigin, RefundStatus
from db.unit_of_work import SystemTransaction

_STATUS: Final = {
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.CANCELLED,
}
GIVEN_BACK: Final = (RefundStatus.PENDING, RefundStatus.SUCCEEDED)
"""Refunds whose money is back or on its way."""
OPEN_DISPUTE: Final = ("needs_response", "under_review", "appeal_needs_response", "appeal_under_review")
"""The bank has taken the money and has not decided; Stripe refunds nothing of the payment meanwhile."""
INQUIRY: Final = ("warning_needs_response", "warning_under_review")


async def lock_payment(tx: SystemTransaction, intent_id: str) -> Payment | None:
    """The payment of this intent, locked with its refunds by the registry's row until the transaction ends."""
    known = await tx.session.scalar(
        select(PaymentIntent).where(PaymentIntent.stripe_payment_intent_id == intent_id).with_for_update()
    )
    if known is None:
        return None
    mine = (Payment.id == known.payment_id, Payment.created_at == known.payment_created_at)
    statement = select(Payment).where(*mine).execution_options(populate_existing=True)
    return (await tx.session.scalars(statement)).one()


async def refunds_of(tx: SystemTransaction, payment: Payment) -> Sequence[Refund]:
    mine = select(Refund).where(Refund.payment_id == payment.id).order_by(Refund.created_at, Refund.id)
    return (await tx.session.scalars(mine.execution_options(populate_existing=True))).all()


async def disputes_of(tx: SystemTransaction, payment: Payment) -> Sequence[Dispute]:
    mine = select(Dispute).where(Dispute.payment_id == payment.id).order_by(Dispute.created_at, Dispute.id)
    return (await tx.session.scalars(mine.execution_options(populate_existing=True))).all()


async def write_refund(tx: SystemTransaction, payment: Payment, facts: RefundFacts) -> None:
    """Updates the refund that was ordered here or is known by its id; one that was made at Stripe gets a row."""
    values: dict[str, Any] = {
        "stripe_refund_id": facts.id,
        "status": _STATUS.get(facts.status, RefundStatus.PENDING),
        "failure": facts.failure,
    }
    if facts.our_id is not None:
        ours = (Refund.id == facts.our_id, Refund.payment_id == payment.id)
        if await tx.session.scalar(update(Refund).where(*ours).values(**values).returning(Refund.id)) is not None:
            return
    row = {
        "id": new_id(),
        **_of(payment),
        "origin": RefundOrigin.STRIPE,
        "amount": facts.amount,
        "currency": facts.currency,
        "reason": facts.reason,
        "created_at": facts.created,
    }
    statement = insert(Refund).values(**row, **values)
    await tx.session.execute(statement.on_conflict_do_update(index_elements=["stripe_refund_id"], set_=values))


async def write_dispute(tx: SystemTransaction, payment: Payment, facts: DisputeFacts) -> bool:
    """Whether it is new here."""
    values: dict[str, Any] = {
        "amount": facts.amount,
        "reason": facts.reason,
        "status": facts.status,
        "due_by": facts.due_by,
        "has_evidence": facts.has_evidence,
        "submissions": facts.submissions,
    }
    row = {**_of(payment), "stripe_dispute_id": facts.id, "currency": facts.currency, "created_at": facts.created}
    made = new_id()
    statement = insert(Dispute).values(id=made, **row, **values)
    replaced = statement.on_conflict_do_update(index_elements=["stripe_dispute_id"], set_=values)
    return await tx.session.scalar(replaced.returning(Dispute.id)) == made


async def order_after_end(tx: SystemTransaction, payment: Payment, amount: int, now: datetime) -> UUID | None:
    """The refund of what came for something that has ended; None where it was ordered before."""
    row = {
        "id": new_id(),
        **_of(payment),
        "origin": RefundOrigin.AFTER_END,
        "amount": amount,
        "currency": payment.currency,
        "status": RefundStatus.PENDING,
        "effect": Effect.KEEP,
        "created_at": now,
    }
    statement = insert(Refund).values(**row).on_conflict_do_nothing().returning(Refund.id)
    made: UUID | None = await tx.session.scalar(statement)
    return made


async def other_suspending_refunds(tx: SystemTransaction, license_id: UUID) -> bool:
    """Whether a refund suspends the license that is not undone."""
    done = (Refund.effect == Effect.SUSPEND, Refund.effect_at.is_not(None), Refund.undone_at.is_(None))
    return bool(await tx.session.scalar(select(exists().where(Refund.license_id == license_id, *done))))


async def other_suspending_disputes(tx: SystemTransaction, license_id: UUID) -> bool:
    """Whether a dispute suspends the license that is not closed."""
    going_on = (Dispute.effect == Effect.SUSPEND, Dispute.effect_at.is_not(None), Dispute.closed_at.is_(None))
    return bool(await tx.session.scalar(select(exists().where(Dispute.license_id == license_id, *going_on))))


async def open_disputes(tx: SystemTransaction, license_id: UUID) -> int:
    mine = (Dispute.license_id == license_id, Dispute.status.in_(OPEN_DISPUTE))
    return await tx.session.scalar(select(func.count()).select_from(Dispute).where(*mine)) or 0


async def pays_for_a_former_term(tx: SystemTransaction, payment: Payment) -> bool:
    """Whether the payment's subscription has ended, and the license was bought again since then."""
    paid_for = select(Invoice.subscription_id).where(Invoice.id == payment.invoice_id).scalar_subquery()
    ended = exists().where(Subscription.id == paid_for, Subscription.status == SubscriptionStatus.CANCELLED)
    running = exists().where(
        Subscription.license_id == payment.license_id, Subscription.status != SubscriptionStatus.CANCELLED
    )
    return bool(await tx.session.scalar(select(and_(ended, running))))


async def running_subscriptions(tx: SystemTransaction, license_id: UUID) -> Sequence[Subscription]:
    mine = (Subscription.license_id == license_id, Subscription.status != SubscriptionStatus.CANCELLED)
    return (await tx.session.scalars(select(Subscription).where(*mine).with_for_update())).all()


def _of(payment: Payment) -> dict[str, Any]:
    return {
        "user_id": payment.user_id,
        "payment_id": payment.id,
        "payment_created_at": payment.created_at,
        "license_id": payment.license_id,
    }
