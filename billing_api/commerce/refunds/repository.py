"""Refund repository: every SQL statement about ordering and sending refunds."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update

from core.errors import NotFound
from core.ids import new_id
from db.models.commerce import Payment
from db.models.identity import User
from db.models.money_back import Dispute, Refund, RefundOrigin, RefundStatus
from db.unit_of_work import SystemTransaction, Transaction


class Sendable(NamedTuple):
    """A refund with what Stripe has to be told, and the Stripe customer whose lock its mirroring needs."""

    refund: Refund
    intent_id: str
    charge_id: str | None
    customer_id: str | None


async def payment(tx: Transaction, payment_id: UUID) -> Payment:
    found = await tx.session.scalar(select(Payment).where(Payment.id == payment_id))
    if found is None:
        raise NotFound("there is no such payment; check its id")
    return found


async def given_back(tx: SystemTransaction, payment_id: UUID) -> int:
    """What went back or is on its way, lost disputes included. Lock the payment before."""
    on_its_way = Refund.status.in_((RefundStatus.PENDING, RefundStatus.SUCCEEDED))
    refunds = select(func.coalesce(func.sum(Refund.amount), 0)).where(Refund.payment_id == payment_id, on_its_way)
    lost = select(func.coalesce(func.sum(Dispute.amount), 0)).where(
        Dispute.payment_id == payment_id, Dispute.status == "lost"
    )
    row = (await tx.session.execute(select(refunds.scalar_subquery(), lost.scalar_subquery()))).one()
    return int(row[0]) + int(row[1])


async def add(tx: SystemTransaction, of: Payment, **values: Any) -> Refund:
    row = Refund(
        id=new_id(),
        user_id=of.user_id,
        payment_id=of.id,
        payment_created_at=of.created_at,
        license_id=of.license_id,
        currency=of.currency,
        origin=RefundOrigin.STAFF,
        status=RefundStatus.PENDING,
        **values,
    )
    tx.session.add(row)
    await tx.session.flush()
    return row


async def sendable(tx: SystemTransaction, refund_id: UUID) -> Sendable | None:
    customer = func.coalesce(User.stripe_customer_id, User.former_stripe_customer_ids[-1].astext)
    statement = (
        select(Refund, Payment.stripe_payment_intent_id, Payment.stripe_charge_id, customer)
        .join(Payment, (Payment.id == Refund.payment_id) & (Payment.created_at == Refund.payment_created_at))
        .join(User, User.id == Refund.user_id)
        .where(Refund.id == refund_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else Sendable(*row)


async def note_sending(tx: SystemTransaction, refund_id: UUID, *, at: datetime, generation: int) -> None:
    mine = Refund.id == refund_id
    await tx.session.execute(update(Refund).where(mine).values(sent_at=at, send_generation=generation))


async def note_stripe_id(tx: SystemTransaction, refund_id: UUID, stripe_refund_id: str) -> None:
    mine = (Refund.id == refund_id, Refund.stripe_refund_id.is_(None))
    await tx.session.execute(update(Refund).where(*mine).values(stripe_refund_id=stripe_refund_id))


async def note_refused(tx: SystemTransaction, refund_id: UUID, failure: str) -> Refund | None:
    """The refund, if it was not refused or carried out before."""
    mine = (Refund.id == refund_id, Refund.status == RefundStatus.PENDING, Refund.stripe_refund_id.is_(None))
    refused = update(Refund).where(*mine).values(status=RefundStatus.FAILED, failure=failure).returning(Refund)
    found: Refund | None = await tx.session.scalar(refused)
    return found
