"""Payment schemas: invoices and payments as JSON."""

from datetime import datetime
from uuid import UUID

import msgspec

from core.money import Money
from db.models.commerce import Invoice, InvoiceStatus, Payment, PaymentStatus


class InvoiceView(msgspec.Struct, frozen=True, kw_only=True):
    """`number` is Stripe's invoice number."""

    id: UUID
    number: str | None
    subscription_id: UUID | None
    amount_due: Money
    amount_paid: Money
    status: InvoiceStatus
    invoice_pdf_url: str | None
    created_at: datetime
    due_date: datetime | None
    paid_at: datetime | None

    @classmethod
    def of(cls, row: Invoice) -> "InvoiceView":
        return cls(
            id=row.id,
            number=row.number,
            subscription_id=row.subscription_id,
            amount_due=Money(row.amount_due, row.currency),
            amount_paid=Money(row.amount_paid, row.currency),
            status=row.status,
            invoice_pdf_url=row.invoice_pdf_url,
            created_at=row.created_at,
            due_date=row.due_date,
            paid_at=row.paid_at,
        )


class PaymentView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    license_id: UUID | None
    amount: Money
    status: PaymentStatus
    payment_method: str | None
    description: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: Payment) -> "PaymentView":
        return cls(
            id=row.id,
            license_id=row.license_id,
            amount=Money(row.amount, row.currency),
            status=row.status,
            payment_method=row.payment_method,
            description=row.description,
            created_at=row.created_at,
        )
