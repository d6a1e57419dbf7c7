"""Payment repository: every SQL statement about invoices and payments as their owner sees them."""

from uuid import UUID

from sqlalchemy import Select, select

from core.errors import NotFound
from db.models.commerce import Invoice, Payment
from db.unit_of_work import CustomerTransaction


def invoices() -> Select[Invoice]:
    """Newest first."""
    return select(Invoice).order_by(Invoice.created_at.desc(), Invoice.id.desc())


def payments() -> Select[Payment]:
    """Newest first."""
    return select(Payment).order_by(Payment.created_at.desc(), Payment.id.desc())


async def invoice(tx: CustomerTransaction, invoice_id: UUID) -> Invoice:
    row = await tx.session.get(Invoice, invoice_id)
    if row is None:
        raise NotFound("there is no such invoice; check its id")
    return row


async def payment(tx: CustomerTransaction, payment_id: UUID) -> Payment:
    row = await tx.session.scalar(select(Payment).where(Payment.id == payment_id))
    if row is None:
        raise NotFound("there is no such payment; check its id")
    return row
