"""Payment repository: every SQL statement about invoices and payments as their owner sees them."""

from typing import Final

from sqlalchemy import Select, bindparam, select

from db.models.commerce import Invoice, Payment
from db.paging import Order
from db.reads import OwnList, OwnStatement

NEWEST_INVOICES: Final = Order(Invoice.created_at, Invoice.id)
NEWEST_PAYMENTS: Final = Order(Payment.created_at, Payment.id)


def invoices() -> Select[Invoice]:
    return select(Invoice)


def payments() -> Select[Payment]:
    return select(Payment)


INVOICES: Final = OwnList(invoices(), NEWEST_INVOICES)
PAYMENTS: Final = OwnList(payments(), NEWEST_PAYMENTS)
INVOICE: Final = OwnStatement(invoices().where(Invoice.id == bindparam("invoice_id", type_=Invoice.id.type)))
PAYMENT: Final = OwnStatement(payments().where(Payment.id == bindparam("payment_id", type_=Payment.id.type)))
