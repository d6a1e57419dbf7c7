"""Payment schemas: invoices and payments as JSON."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.commerce.disputes.schemas import DisputeLine
from billing_api.commerce.refunds.schemas import RefundLine
from billing_api.web.fields import INVOICE, CreatedAt, InvoiceId, LicenseId, PaymentId, SubscriptionId
from core.money import Money
from db.models.commerce import Invoice, InvoiceStatus, PaymentStatus
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


class PaymentFailure(msgspec.Struct, frozen=True):
    """Why a payment failed."""

    code: Annotated[
        str, Meta(description="The bank's code where it gave one, else Stripe's.", examples=["insufficient_funds"])
    ]
    message: Annotated[
        str | None,
        Meta(description="The same for people; null where nothing was said.", examples=["Your card was declined."]),
    ]


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
    invoice_id: Annotated[
        UUID | None, Meta(description="The invoice that it pays; null for a payment without one.", examples=[INVOICE])
    ]
    refunded: Annotated[Money, Meta(description="What of it went back, or is on its way.")]
    refunds: Annotated[list[RefundLine], Meta(description="Its refunds, the oldest first.")]
    dispute: Annotated[DisputeLine | None, Meta(description="Its newest dispute; null where the bank raised none.")]
    failure: Annotated[PaymentFailure | None, Meta(description="Why the last try failed; null where it did not.")]

    @classmethod
    def of(cls, row: Any) -> "PaymentView":
        """From a row of `repository.payments`."""
        return cls(**facts_of(row))


def facts_of(row: Any) -> dict[str, Any]:
    """The fields of a `PaymentView`."""
    return {
        "id": row.id,
        "license_id": row.license_id,
        "amount": Money(row.amount, row.currency),
        "status": PaymentStatus(row.status),
        "payment_method": row.payment_method,
        "description": row.description,
        "created_at": row.created_at,
        "invoice_id": row.invoice_id,
        "refunded": Money(row.refunded, row.currency),
        "refunds": msgspec.convert(row.refunds, list[RefundLine]),
        "dispute": msgspec.convert(row.dispute, DisputeLine | None),
        "failure": PaymentFailure(row.failure_code, row.failure_message) if row.failure_code else None,
    }
