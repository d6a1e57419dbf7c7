"""Payment schemas: invoices and payments as JSON."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.web.fields import CreatedAt, InvoiceId, LicenseId, PaymentId, SubscriptionId
from core.money import Money
from db.models.commerce import Invoice, InvoiceStatus, Payment, PaymentStatus
from db.reads import Record


class InvoiceView(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice, as Stripe has it."""

    id: InvoiceId
    number: Annotated[
        str | None,
        Meta(description="Stripe's invoice number, as printed on the PDF; null for a draft.", examples=["NPB-0042"]),
    ]
    subscription_id: SubscriptionId | None
    amount_due: Annotated[Money, Meta(description="What the customer has to pay, after discounts and taxes.")]
    amount_paid: Annotated[Money, Meta(description="What has been paid of it.")]
    status: InvoiceStatus
    invoice_pdf_url: Annotated[
        str | None,
        Meta(
            description="Where Stripe has the PDF; null for a draft.",
            examples=["https://pay.stripe.com/invoice/acct_1/test_1/pdf"],
        ),
    ]
    created_at: CreatedAt
    due_date: Annotated[
        datetime | None,
        Meta(description="Until when to pay it; null where the card is charged at once.", examples=[None]),
    ]
    paid_at: Annotated[
        datetime | None, Meta(description="When it was paid; null while it is not.", examples=["2026-11-22T16:00:04Z"])
    ]

    @classmethod
    def of(cls, row: Invoice | Record) -> "InvoiceView":
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
    """A payment, or an attempt at one."""

    id: PaymentId
    license_id: LicenseId | None
    amount: Annotated[Money, Meta(description="What was charged.")]
    status: PaymentStatus
    payment_method: Annotated[
        str | None,
        Meta(description="Stripe's kind of payment method; null where it could be one of several.", examples=["card"]),
    ]
    description: Annotated[
        str | None, Meta(description="What it was for; null where nothing is said.", examples=["Professional, monthly"])
    ]
    created_at: CreatedAt

    @classmethod
    def of(cls, row: Payment | Record) -> "PaymentView":
        return cls(
            id=row.id,
            license_id=row.license_id,
            amount=Money(row.amount, row.currency),
            status=row.status,
            payment_method=row.payment_method,
            description=row.description,
            created_at=row.created_at,
        )
