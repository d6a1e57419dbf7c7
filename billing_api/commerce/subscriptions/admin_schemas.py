"""Subscription schemas of staff: a subscription with its owner, and a cancellation for a customer."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from billing_api.commerce.subscriptions.schemas import SubscriptionView
from billing_api.web.fields import Email, UserId
from billing_api.web.parameters import Reason


class AdminSubscriptionView(SubscriptionView, frozen=True, kw_only=True):
    """A subscription as staff read it."""

    user_id: UserId
    email: Email
    ended_at: Annotated[
        datetime | None, Meta(description="When it ended; null while it runs.", examples=["2026-12-22T16:00:00Z"])
    ]
    stripe_subscription_id: Annotated[str, Meta(description="Its id at Stripe.", examples=["sub_1Q1yZ2eZvKYlo2C"])]

    @classmethod
    def of_row(cls, row: Any) -> "AdminSubscriptionView":
        """From a row of `admin_repository.for_staff`."""
        return cls(
            **msgspec.structs.asdict(SubscriptionView.read(row)),
            user_id=row.user_id,
            email=row.email,
            ended_at=row.ended_at,
            stripe_subscription_id=row.stripe_subscription_id,
        )


class StaffCancelGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a customer's subscription shall end, and why."""

    when: Annotated[
        Literal["period_end", "now"],
        Meta(
            description="With the paid period, or at once. While an invoice is unpaid, either ends it at once.",
            examples=["period_end"],
        ),
    ]
    reason: Reason
