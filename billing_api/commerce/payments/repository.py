"""Payment repository: every SQL statement about invoices and payments as their owner sees them."""

from typing import Final
from uuid import UUID

from sqlalchemy import Select, select

from core.errors import NotFound
from db.models.commerce import Invoice, Payment
from db.paging import Order
from db.reads import OwnList
from db.unit_of_work import CustomerTransaction

NEWEST_INVOICES: Final = Order(Invoice.created_at, Invoice.id)
NEWEST_PAYMENTS: Final = Order(Payment.created_at, Payment.id)


def invoices() -> Select[Invoice]:
    return select(Invoice)


def payments() -> Select[Payment]:
    return select(Payment)


INVOICES: Final = OwnList(invoices(), NEWEST_INVOICES)
PAYMENTS: Final = OwnList(payments(), NEWEST_PAYMENTS)


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
