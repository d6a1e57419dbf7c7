"""Payment schemas: payments as JSON."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.commerce.disputes.schemas import DisputeLine
from billing_api.commerce.refunds.schemas import RefundLine
from billing_api.web.fields import INVOICE, CreatedAt, LicenseId, PaymentId
from core.money import Money
from db.models.commerce import PaymentStatus


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
