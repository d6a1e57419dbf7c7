"""Checkout schemas: requests and answers as JSON."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from billing_api.commerce.plans.prices import MOST_LICENSES
from billing_api.web.fields import CheckoutId, LicenseId, PlanId
from core.field_errors import FORM
from db.models.commerce import CheckoutStatus
from db.models.licensing import Interval

Currency = Annotated[
    str,
    Meta(
        description="ISO 4217, in lower case.",
        pattern=r"^[a-z]{3}$",
        examples=["eur"],
        extra={FORM: "three lower-case letters"},
    ),
]


class StartCheckout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to buy."""

    plan_id: PlanId
    interval: Interval
    quantity: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_LICENSES)],
        Meta(description="How many licenses; one subscription pays for all of them.", examples=[1]),
    ] = 1
    currency: Annotated[
        Currency | None,
        Meta(
            description="One in which the plan is sold; null: that of your first purchase, else the plan's own.",
            examples=["usd"],
        ),
    ] = None
    promotion_code: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(
            description=(
                "A code to apply. One that may not be used is refused with 422, and `errors` says why. Null: a code can"
                " be entered on Stripe's page."
            ),
            examples=["WELCOME20"],
        ),
    ] = None
    trial: Annotated[
        bool,
        Meta(
            description=(
                "Try the plan for its `trial_days` first, where it has any. A card is asked for at once; its first"
                " charge comes with the end of the trial. Once for each user and each card."
            ),
            examples=[False],
        ),
    ] = False
    license_id: Annotated[
        LicenseId | None,
        Meta(
            description=(
                "A license of mine that has ended: it comes back with its key once this is paid. Null: another license."
            ),
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
        LicenseId | None,
        Meta(description="The license that was bought, the first of several; null until the payment is confirmed."),
    ]
    quantity: Annotated[int, Meta(description="How many licenses were ordered.", examples=[1])]
    refused_because: Annotated[
        Literal["trial_used"] | None,
        Meta(
            description="Why nothing was issued: a trial with this card was had before. Nothing was charged then.",
            examples=[None],
        ),
    ]
