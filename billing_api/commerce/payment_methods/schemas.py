"""Payment method schemas: cards as JSON, as far as they may be shown."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from core.field_errors import FORM

MethodId = Annotated[
    str,
    Meta(
        description="Stripe's id of the card.",
        pattern=r"^pm_[A-Za-z0-9_]{1,255}$",
        examples=["pm_1RAx2LkJqp"],
        extra={FORM: "pm_ and letters, digits or underscores"},
    ),
]
SetupId = Annotated[
    str,
    Meta(
        description="Stripe's id of the setup.",
        pattern=r"^seti_[A-Za-z0-9_]{1,255}$",
        examples=["seti_1RAx2LkJqp"],
        extra={FORM: "seti_ and letters, digits or underscores"},
    ),
]


class PaymentMethodView(msgspec.Struct, frozen=True, kw_only=True):
    """A card of the customer, as Stripe shows it."""

    id: MethodId
    brand: Annotated[str, Meta(description="The card's network.", examples=["visa"])]
    last4: Annotated[str, Meta(description="The last four digits of its number.", examples=["4242"])]
    exp_month: Annotated[int, Meta(description="Month in which it expires, 1 to 12.", examples=[8])]
    exp_year: Annotated[int, Meta(description="Year in which it expires.", examples=[2029])]
    is_default: Annotated[bool, Meta(description="Whether this card is charged.", examples=[True])]
    expires_before_renewal: Annotated[
        bool,
        Meta(
            description="Whether it expires before a subscription is charged next: add another card in time.",
            examples=[False],
        ),
    ]


class PaymentMethods(msgspec.Struct, frozen=True):
    """All cards of the customer."""

    items: Annotated[list[PaymentMethodView], Meta(description="The newest first.")]


class SetupStarted(msgspec.Struct, frozen=True, kw_only=True):
    """What Stripe's Payment Element needs to take a card in the browser."""

    setup_id: SetupId
    client_secret: Annotated[
        str,
        Meta(
            description="For Stripe's Payment Element, for this setup alone. Give it to the customer's browser only.",
            examples=["seti_1RAx2LkJqp_secret_Q5x"],
        ),
    ]
    publishable_key: Annotated[
        str | None,
        Meta(
            description="The key with which the browser speaks to Stripe; null where the seller has set none.",
            examples=["pk_test_51RAx2"],
        ),
    ]


SetupStatus = Literal["succeeded", "processing", "requires_action", "requires_payment_method", "canceled"]


class SetupView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a card that was typed."""

    setup_id: SetupId
    status: Annotated[
        SetupStatus,
        Meta(
            description=(
                "`succeeded`: the card is on file. `requires_action`: the bank waits for the customer's confirmation."
                " `requires_payment_method`: no card was given, or it was declined."
            ),
            examples=["succeeded"],
        ),
    ]
    payment_method: Annotated[PaymentMethodView | None, Meta(description="The card, once it is on file; null before.")]
    error: Annotated[
        str | None,
        Meta(description="Why the card was refused, in Stripe's words; null if it was not.", examples=[None]),
    ]


class TriedInvoice(msgspec.Struct, frozen=True, kw_only=True):
    """An open invoice that was tried with the new default card."""

    stripe_invoice_id: Annotated[str, Meta(description="Stripe's id of the invoice.", examples=["in_1RAx2LkJqp"])]
    status: Annotated[
        Literal["paid", "open"],
        Meta(description="`open`: declined, or to be confirmed.", examples=["paid"]),
    ]
    error: Annotated[
        str | None, Meta(description="Why it is still open, in Stripe's words; null where it is paid.", examples=[None])
    ]
    payment_url: Annotated[
        str | None,
        Meta(description="Where the customer can pay or confirm it; null where it is paid.", examples=[None]),
    ]


class DefaultChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The card that is charged from now on."""

    payment_method: Annotated[PaymentMethodView, Meta(description="The card that is charged from now on.")]
    tried_invoices: Annotated[
        list[TriedInvoice], Meta(description="The invoices that were open, and what became of each with this card.")
    ]
