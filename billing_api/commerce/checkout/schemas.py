"""Checkout schemas: requests and answers as JSON."""

from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.web.fields import CheckoutId, LicenseId, PlanId
from db.models.commerce import CheckoutStatus
from db.models.licensing import Interval


class StartCheckout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to buy."""

    plan_id: PlanId
    interval: Interval
    promotion_code: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None,
        Meta(
            description="Leave it out: promotion codes are entered on Stripe's page, and any other value is refused.",
            examples=[None],
        ),
    ] = None


class StartedCheckout(msgspec.Struct, frozen=True):
    """A purchase that waits for its payment."""

    url: Annotated[
        str,
        Meta(
            description="Stripe's payment page; send the customer there. It is open for 24 hours.",
            examples=["https://checkout.stripe.com/c/pay/cs_test_1"],
        ),
    ]
    session_id: CheckoutId


class CheckoutView(msgspec.Struct, frozen=True, kw_only=True):
    """A purchase, as Stripe has it now."""

    session_id: CheckoutId
    status: CheckoutStatus
    plan_id: PlanId
    interval: Interval
    license_id: Annotated[
        LicenseId | None, Meta(description="The license that was bought; null until the payment is confirmed.")
    ]
