"""Mirror repository: every SQL statement of the mirror."""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, and_, case, delete, exists, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.gateways.stripe.bills import Bill
from billing_api.gateways.stripe.facts import InvoiceFacts, PaymentFacts
from core.ids import new_id
from db.models.commerce import (
    Checkout,
    CheckoutStatus,
    Invoice,
    InvoiceStatus,
    Payment,
    PaymentIntent,
    PaymentStatus,
    Subscription,
    SubscriptionStatus,
)
from db.models.identity import User
from db.unit_of_work import SystemTransaction

# A customer that was deleted at Stripe shares the lock of its replacement: both belong to one user.
_TRY_TO_LOCK: Final = text(
    """
    SELECT pg_try_advisory_xact_lock(hashtextextended('stripe customer ' || coalesce(
        (SELECT coalesce(stripe_customer_id, former_stripe_customer_ids ->> -1) FROM users
            WHERE former_stripe_customer_ids @> to_jsonb(CAST(:customer AS text)) LIMIT 1),
        :customer), 0))
    """
)


class AtStripe(NamedTuple):
    """A subscription's id at Stripe, and that of its customer."""

    subscription_id: str
    customer_id: str


async def at_stripe(tx: SystemTransaction, subscription_id: UUID) -> AtStripe | None:
    """None where there is no such subscription, or its user has no customer at Stripe any more."""
    statement = select(Subscription.stripe_subscription_id, customer_at_stripe()).join(
        User, User.id == Subscription.user_id
    )
    row = (await tx.session.execute(statement.where(Subscription.id == subscription_id))).one_or_none()
    return None if row is None or row[1] is None else AtStripe(row[0], row[1])


async def try_to_lock_customer(tx: SystemTransaction, customer_id: str) -> bool:
    """Takes the lock on this Stripe customer until the transaction ends. Objects that have no row need it, too.

    False where another transaction holds it. It never waits, because a wait would hold a connection.
    """
    return bool(await tx.session.scalar(_TRY_TO_LOCK, {"customer": customer_id}))


async def user_of(tx: SystemTransaction, customer_id: str) -> User | None:
    """The user of this customer, also where the customer was deleted at Stripe."""
    theirs = or_(User.stripe_customer_id == customer_id, User.former_stripe_customer_ids.contains([customer_id]))
    user: User | None = await tx.session.scalar(select(User).where(theirs))
    return user


async def checkout(tx: SystemTransaction, checkout_id: UUID) -> Checkout | None:
    return await tx.session.get(Checkout, checkout_id, with_for_update=True)


async def close_checkout(tx: SystemTransaction, checkout_id: UUID, status: CheckoutStatus) -> None:
    await tx.session.execute(update(Checkout).where(Checkout.id == checkout_id).values(status=status))


async def expire_checkout_of(tx: SystemTransaction, session_id: str) -> None:
    """Expires the checkout of this Stripe session, if it is still open."""
    mine = (Checkout.stripe_session_id == session_id, Checkout.status == CheckoutStatus.OPEN)
    await tx.session.execute(update(Checkout).where(*mine).values(status=CheckoutStatus.EXPIRED))


async def delete_draft(tx: SystemTransaction, stripe_invoice_id: str) -> bool:
    """Deletes a draft invoice; False where we have none. An invoice that was ever finalized stays in the books."""
    mine = (Invoice.stripe_invoice_id == stripe_invoice_id, Invoice.status == InvoiceStatus.DRAFT)
    return await tx.session.scalar(delete(Invoice).where(*mine).returning(Invoice.id)) is not None


async def subscription(tx: SystemTransaction, stripe_subscription_id: str) -> Subscription | None:
    found: Subscription | None = await tx.session.scalar(
        select(Subscription).where(Subscription.stripe_subscription_id == stripe_subscription_id).with_for_update()
    )
    return found


async def overdue(tx: SystemTransaction, *, late: datetime, looked_at: datetime, most: int) -> list[tuple[str, str]]:
    """(subscription, customer), Stripe's ids: those due before `late`, the one not read for longest first."""
    statement = (
        select(Subscription.stripe_subscription_id, func.coalesce(customer_at_stripe(), ""))
        .join(User, User.id == Subscription.user_id)
        .where(
            Subscription.status != SubscriptionStatus.CANCELLED,
            Subscription.mirrored_at < looked_at,
            or_(Subscription.current_period_end < late, Subscription.pending_from < late),
        )
        .order_by(Subscription.mirrored_at)
        .limit(most)
    )
    return [(row[0], row[1]) for row in await tx.session.execute(statement)]


def customer_at_stripe() -> ColumnElement[Any]:
    """SQL: the user's customer, or the last deleted one, which may still have subscriptions."""
    return func.coalesce(User.stripe_customer_id, User.former_stripe_customer_ids[-1].astext)


async def postpone(tx: SystemTransaction, stripe_subscription_id: str, now: datetime) -> None:
    mine = Subscription.stripe_subscription_id == stripe_subscription_id
    await tx.session.execute(update(Subscription).where(mine).values(mirrored_at=now))


class KnownInvoice(NamedTuple):
    """What our rows say of an invoice before it is mirrored. `on_its_way`: a payment of it had not been answered."""

    status: InvoiceStatus
    first_failed_at: datetime | None
    on_its_way: bool


async def known_invoice(tx: SystemTransaction, stripe_invoice_id: str) -> KnownInvoice | None:
    on_its_way = exists().where(Payment.invoice_id == Invoice.id, Payment.status == PaymentStatus.PENDING)
    statement = select(Invoice.status, Invoice.first_failed_at, on_its_way)
    row = (await tx.session.execute(statement.where(Invoice.stripe_invoice_id == stripe_invoice_id))).one_or_none()
    return None if row is None else KnownInvoice(*row)


async def note_first_failure(tx: SystemTransaction, invoice_id: UUID, failed_at: datetime) -> None:
    await tx.session.execute(update(Invoice).where(Invoice.id == invoice_id).values(first_failed_at=failed_at))


async def write_invoice(
    tx: SystemTransaction, facts: InvoiceFacts, *, user_id: UUID, subscription_id: UUID | None
) -> UUID:
    values: dict[str, Any] = {
        "user_id": user_id,
        "subscription_id": subscription_id,
        "number": facts.number,
        "amount_due": facts.amount_due,
        "amount_paid": facts.amount_paid,
        "currency": facts.currency,
        "status": InvoiceStatus(facts.status),
        "invoice_pdf_url": facts.pdf_url,
        "due_date": facts.due,
        "paid_at": facts.paid_at,
        "payment_url": facts.page_url,
        "next_attempt_at": facts.next_attempt_at,
        "needs_owner": facts.needs_its_owner,
        **_billed(facts.bill),
    }
    statement = insert(Invoice).values(id=new_id(), stripe_invoice_id=facts.id, created_at=facts.created, **values)
    written = statement.on_conflict_do_update(index_elements=["stripe_invoice_id"], set_=values)
    return (await tx.session.execute(written.returning(Invoice.id))).scalar_one()


def _billed(bill: Bill) -> dict[str, Any]:
    return {
        "subtotal": bill.subtotal,
        "discount": bill.discount,
        "tax": bill.tax,
        "total": bill.total,
        "balance_used": bill.balance_used,
        "amount_remaining": bill.remaining,
        "lines": msgspec.to_builtins(bill.lines, builtin_types=()),
        "credit_notes": msgspec.to_builtins(bill.credit_notes, builtin_types=()),
    }


async def write_payment(
    tx: SystemTransaction,
    facts: PaymentFacts,
    *,
    user_id: UUID,
    license_id: UUID | None,
    invoice_id: UUID,
    description: str,
) -> None:
    """Writes one row for each intent. The registry table enforces that; a unique index over partitions cannot."""
    payment_id = new_id()
    values = {"license_id": license_id, "invoice_id": invoice_id, **_told(facts)}
    # 1. A new intent: register it, then insert its payment.
    claim = (
        insert(PaymentIntent)
        .values(stripe_payment_intent_id=facts.intent_id, payment_id=payment_id, payment_created_at=facts.created)
        .on_conflict_do_nothing()
        .returning(PaymentIntent.payment_id)
    )
    if await tx.session.scalar(claim) is not None:
        row = {"id": payment_id, "created_at": facts.created, "user_id": user_id, "currency": facts.currency}
        new = {"stripe_payment_intent_id": facts.intent_id, "description": description, "metadata_": {}}
        await tx.session.execute(insert(Payment).values(**row, **new, **values))
        return
    # 2. A known intent: update its payment. The creation instant selects one partition. The registry's row is locked
    # first, as an order of a refund does: in another order, the two could wait for each other.
    known = await tx.session.get_one(PaymentIntent, facts.intent_id, with_for_update=True)
    mine = (Payment.id == known.payment_id, Payment.created_at == known.payment_created_at)
    # The intent of a payment that went back has succeeded for ever: only refunds and disputes say more.
    went_back = and_(Payment.status == PaymentStatus.REFUNDED, literal(values["status"] is PaymentStatus.SUCCEEDED))
    values["status"] = case((went_back, Payment.status), else_=literal(values["status"], Payment.status.type))
    await tx.session.execute(update(Payment).where(*mine).values(**values))


def _told(facts: PaymentFacts) -> dict[str, Any]:
    charged = {} if facts.charge_id is None else {"stripe_charge_id": facts.charge_id}
    return charged | {
        "status": payment_status(facts.status),
        "amount": facts.amount,
        "payment_method": facts.method,
        "failure_code": facts.failure_code,
        "failure_message": facts.failure_message,
    }


def payment_status(stripe_status: str) -> PaymentStatus:
    if stripe_status == "succeeded":
        return PaymentStatus.SUCCEEDED
    if stripe_status in {"requires_payment_method", "canceled"}:
        return PaymentStatus.FAILED
    return PaymentStatus.PENDING
