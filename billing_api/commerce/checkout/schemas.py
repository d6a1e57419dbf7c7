"""Checkout schemas: requests and answers as JSON."""

from typing import Annotated
from uuid import UUID

import msgspec

from db.models.commerce import CheckoutStatus
from db.models.licensing import Interval


class StartCheckout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan_id: UUID
    interval: Interval
    promotion_code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class StartedCheckout(msgspec.Struct, frozen=True):
    """`url`: Stripe's payment page; send the customer there. `session_id`: use it to read the state of the purchase."""

    url: str
    session_id: UUID


class CheckoutView(msgspec.Struct, frozen=True, kw_only=True):
    """`license_id` is set once the payment is confirmed."""

    session_id: UUID
    status: CheckoutStatus
    plan_id: UUID
    interval: Interval
    license_id: UUID | None
