"""Dispute schemas: disputes as owners and staff read them, and the evidence that staff give."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from billing_api.web.fields import DISPUTE, CreatedAt, Email, LicenseId, PaymentId, UserId
from billing_api.web.text_patterns import LINES, LINES_IN_WORDS
from core.field_errors import FORM
from core.money import Money
from db.models.money_back import Dispute, Effect

_LONGEST = 20_000
DisputeId = Annotated[UUID, Meta(description="The dispute's id.", examples=[DISPUTE])]


class DisputeLine(msgspec.Struct, frozen=True, kw_only=True):
    """A dispute as the owner of the payment reads it."""

    id: DisputeId
    status: Annotated[
        str,
        Meta(
            description=(
                "Stripe's word: `needs_response`, `under_review`, `won`, `lost`; `warning_…` is an inquiry, "
                "`prevented` was settled before it became a dispute. There may be others."
            ),
            examples=["needs_response"],
        ),
    ]
    reason: Annotated[str, Meta(description="The bank's reason, in Stripe's word.", examples=["fraudulent"])]
    amount: Annotated[Money, Meta(description="What is disputed.")]
    created_at: CreatedAt


class DisputeView(DisputeLine, frozen=True, kw_only=True):
    """A dispute as staff read it."""

    payment_id: PaymentId
    license_id: LicenseId | None
    user_id: UserId
    email: Email
    due_by: Annotated[
        datetime | None,
        Meta(description="Until when evidence is taken; null: none is.", examples=["2026-12-03T23:59:59Z"]),
    ]
    has_evidence: Annotated[bool, Meta(description="Whether Stripe has evidence of ours.", examples=[False])]
    submissions: Annotated[int, Meta(description="How often it was submitted to the bank.", examples=[0])]
    license: Annotated[Effect | None, Meta(description="What became of the license when it was opened; null: nothing.")]
    closed_at: Annotated[
        datetime | None, Meta(description="When its end was noted here; null while it is open.", examples=[None])
    ]
    stripe_dispute_id: Annotated[str, Meta(description="Its id at Stripe.", examples=["du_1Q1yZ2eZvKYlo2C"])]

    @classmethod
    def of(cls, row: Dispute, email: str) -> "DisputeView":
        return cls(
            id=row.id,
            status=row.status,
            reason=row.reason,
            amount=Money(row.amount, row.currency),
            created_at=row.created_at,
            payment_id=row.payment_id,
            license_id=row.license_id,
            user_id=row.user_id,
            email=email,
            due_by=row.due_by,
            has_evidence=row.has_evidence,
            submissions=row.submissions,
            license=row.effect,
            closed_at=row.closed_at,
            stripe_dispute_id=row.stripe_dispute_id,
        )


def _text(description: str, example: str) -> Meta:
    return Meta(
        min_length=1,
        max_length=_LONGEST,
        pattern=LINES,
        description=description,
        examples=[example],
        extra={FORM: LINES_IN_WORDS},
    )


class EvidenceGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Evidence for the bank. Absent texts stay as Stripe has them."""

    submit: Annotated[
        bool,
        Meta(
            description="Whether it goes to the bank now, which happens once; false: Stripe keeps it for later.",
            examples=[True],
        ),
    ] = True
    access_activity_log: (
        Annotated[str, _text("When and from where the customer used the service.", "2026-11-23 09:14 from 192.0.2.7")]
        | UnsetType
    ) = UNSET
    cancellation_policy_disclosure: (
        Annotated[str, _text("How the customer was shown the terms of cancellation.", "On the payment page.")]
        | UnsetType
    ) = UNSET
    cancellation_rebuttal: (
        Annotated[str, _text("Why the subscription was not cancelled in time.", "It was never cancelled.")] | UnsetType
    ) = UNSET
    customer_email_address: Annotated[str, _text("The customer's address.", "ada@example.com")] | UnsetType = UNSET
    customer_name: Annotated[str, _text("The customer's name.", "Ada Byron")] | UnsetType = UNSET
    customer_purchase_ip: Annotated[str, _text("The address that the purchase came from.", "192.0.2.7")] | UnsetType = (
        UNSET
    )
    product_description: (
        Annotated[str, _text("What was sold.", "A license for the NextPanel hosting control panel.")] | UnsetType
    ) = UNSET
    refund_policy_disclosure: (
        Annotated[str, _text("How the customer was shown the terms of refunds.", "On the payment page.")] | UnsetType
    ) = UNSET
    refund_refusal_explanation: (
        Annotated[str, _text("Why the customer has no right to a refund.", "The period was used.")] | UnsetType
    ) = UNSET
    service_date: Annotated[str, _text("Since when the service was used.", "2026-11-22")] | UnsetType = UNSET
    uncategorized_text: Annotated[str, _text("Anything else.", "See the log of sign-ins.")] | UnsetType = UNSET

    @property
    def texts(self) -> dict[str, str]:
        given: dict[str, str] = msgspec.to_builtins(self)
        return {name: text for name, text in given.items() if name != "submit"}
