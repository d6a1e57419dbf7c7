"""Refund schemas: the order of an administrator, and refunds as owners and staff read them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.web import fields
from billing_api.web.fields import CreatedAt, LicenseId, PaymentId
from billing_api.web.parameters import Message
from core.money import Money
from db.models.money_back import Effect, Refund, RefundOrigin, RefundStatus

RefundId = Annotated[UUID, Meta(description="The refund's id.", examples=[fields.REFUND])]
_Reason = Annotated[
    str | None,
    Meta(
        description="`duplicate`, `fraudulent`, `requested_by_customer`, or Stripe's own word; null: none was given.",
        examples=["requested_by_customer"],
    ),
]
_Failure = Annotated[
    str | None, Meta(description="Why it failed, in Stripe's word; null where it did not.", examples=[None])
]


class RefundGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A refund to make."""

    amount: Annotated[
        Annotated[int, Meta(ge=1, le=2**53)] | None,
        Meta(description="In minor units; absent or null: everything that is left.", examples=[1000]),
    ] = None
    reason: Annotated[
        Literal["duplicate", "fraudulent", "requested_by_customer"],
        Meta(description="What Stripe is told.", examples=["requested_by_customer"]),
    ]
    note: Annotated[
        Message | None, Meta(description="Why, for staff alone.", examples=["Ticket 93: two days without service."])
    ] = None
    license: Annotated[
        Effect | None,
        Meta(
            description=(
                "What becomes of the license once the refund is done: it is kept, suspended for the cause `refunded`, "
                "or ended with its subscription. Absent or null: as the billing settings say."
            ),
            examples=["keep"],
        ),
    ] = None


class RefundLine(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as the owner of the payment reads it."""

    id: RefundId
    amount: Annotated[Money, Meta(description="What goes back.")]
    status: Annotated[
        RefundStatus,
        Meta(description="`pending` until the bank has answered; `failed`: the money came back to us."),
    ]
    reason: _Reason
    failure: _Failure
    created_at: CreatedAt


class RefundView(RefundLine, frozen=True, kw_only=True):
    """A refund as staff read it."""

    payment_id: PaymentId
    license_id: LicenseId | None
    origin: Annotated[
        RefundOrigin,
        Meta(
            description=(
                "Who ordered it: an administrator here (`staff`), somebody at Stripe (`stripe`), or nobody, because "
                "the money came for something that had ended (`after_end`)."
            )
        ),
    ]
    license: Annotated[
        Effect | None,
        Meta(description="What became of the license; null: as the billing settings say, once it is done."),
    ]
    done_at: Annotated[
        datetime | None,
        Meta(description="When that was carried out; null while it was not.", examples=["2026-11-22T16:00:09Z"]),
    ]
    undone_at: Annotated[
        datetime | None,
        Meta(description="When a failure of the refund took it back; null where none did.", examples=[None]),
    ]
    note: Annotated[str | None, Meta(description="Staff's words.", examples=["Ticket 93"])]
    actor_id: Annotated[
        UUID | None, Meta(description="The administrator who ordered it; null: nobody here.", examples=[fields.STAFF])
    ]
    stripe_refund_id: Annotated[
        str | None, Meta(description="Its id at Stripe; null until Stripe has it.", examples=["re_3Q1yZ2eZvKYlo2C"])
    ]

    @classmethod
    def of(cls, row: Refund) -> "RefundView":
        return cls(
            id=row.id,
            amount=Money(row.amount, row.currency),
            status=row.status,
            reason=row.reason,
            failure=row.failure,
            created_at=row.created_at,
            payment_id=row.payment_id,
            license_id=row.license_id,
            origin=row.origin,
            license=row.effect,
            done_at=row.effect_at,
            undone_at=row.undone_at,
            note=row.note,
            actor_id=row.actor_id,
            stripe_refund_id=row.stripe_refund_id,
        )
