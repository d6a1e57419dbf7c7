"""Invoice repository: every SQL statement about invoices as their owner and staff see them."""

from typing import Any, Final

from sqlalchemy import BigInteger, ScalarSelect, Select, bindparam, cast, func, select

from db.models.commerce import Invoice, InvoiceStatus, Payment
from db.paging import Order
from db.reads import OwnList, OwnStatement

NEWEST_INVOICES: Final = Order(Invoice.created_at, Invoice.id)
_FACTS: Final = (
    Invoice.id,
    Invoice.number,
    Invoice.subscription_id,
    Invoice.currency,
    Invoice.amount_due,
    Invoice.amount_paid,
    Invoice.amount_remaining,
    Invoice.subtotal,
    Invoice.discount,
    Invoice.tax,
    Invoice.total.label("invoice_total"),  # a list has a `total` of its own
    Invoice.balance_used,
    Invoice.lines,
    Invoice.credit_notes,
    Invoice.status,
    Invoice.invoice_pdf_url,
    Invoice.payment_url,
    Invoice.created_at,
    Invoice.due_date,
    Invoice.paid_at,
)


def invoices() -> Select[*tuple[Any, ...]]:
    """Invoices with what went back of their payments: the fields of `schemas.InvoiceView`. Drafts are left out."""
    return select(*_FACTS, _refunded().label("refunded")).where(Invoice.status != InvoiceStatus.DRAFT)


def _refunded() -> ScalarSelect[Any]:
    back = cast(func.coalesce(func.sum(Payment.refunded), 0), BigInteger)  # a sum is NUMERIC
    return select(back).where(Payment.invoice_id == Invoice.id).correlate(Invoice).scalar_subquery()


INVOICES: Final = OwnList(
    invoices(),
    NEWEST_INVOICES,
    status=Invoice.status == bindparam("status", type_=Invoice.status.type),
    subscription_id=Invoice.subscription_id == bindparam("subscription_id", type_=Invoice.id.type),
    since=Invoice.created_at >= bindparam("since", type_=Invoice.created_at.type),
    before=Invoice.created_at < bindparam("before", type_=Invoice.created_at.type),
)
INVOICE: Final = OwnStatement(invoices().where(Invoice.id == bindparam("invoice_id", type_=Invoice.id.type)))
