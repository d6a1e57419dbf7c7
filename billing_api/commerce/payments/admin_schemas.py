"""Payment schemas of staff: a payment with its owner, and with everything that took money of it back."""

from typing import Annotated, Any

from msgspec import Meta

from billing_api.commerce.disputes.schemas import DisputeView
from billing_api.commerce.payments.schemas import PaymentView, facts_of
from billing_api.commerce.refunds.schemas import RefundView
from billing_api.web.fields import Email, UserId


class AdminPaymentView(PaymentView, frozen=True, kw_only=True):
    """A payment as staff read it."""

    user_id: UserId
    email: Email
    stripe_payment_intent_id: Annotated[
        str, Meta(description="The payment intent's id at Stripe.", examples=["pi_3Q1yZ2eZvKYlo2C"])
    ]
    stripe_charge_id: Annotated[
        str | None,
        Meta(description="The charge's id at Stripe; null while none was tried.", examples=["ch_3Q1yZ2eZvK"]),
    ]

    @classmethod
    def of_row(cls, row: Any) -> "AdminPaymentView":
        """From a row of `repository.for_staff`."""
        return cls(
            **facts_of(row),
            user_id=row.user_id,
            email=row.email,
            stripe_payment_intent_id=row.stripe_payment_intent_id,
            stripe_charge_id=row.stripe_charge_id,
        )


class AdminPaymentDetails(AdminPaymentView, frozen=True, kw_only=True):
    """One payment, with its refunds and disputes as staff read them."""

    refund_details: Annotated[list[RefundView], Meta(description="Its refunds, with notes and what followed.")]
    disputes: Annotated[list[DisputeView], Meta(description="All of its disputes, the oldest first.")]
