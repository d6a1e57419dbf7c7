"""Invoice schemas of staff: an invoice with its owner, and what staff do to it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from billing_api.commerce.invoices.schemas import InvoiceView, facts_of
from billing_api.gateways.stripe.invoice_deeds import CreditTo
from billing_api.web.fields import Email, UserId
from billing_api.web.parameters import Reason

_MOST: int = 2**53


class AdminInvoiceView(InvoiceView, frozen=True, kw_only=True):
    """An invoice as staff read it; drafts among them."""

    user_id: UserId
    email: Email
    stripe_invoice_id: Annotated[str, Meta(description="Its id at Stripe.", examples=["in_1Q1yZ2eZvKYlo2C"])]

    @classmethod
    def of_row(cls, row: Any) -> "AdminInvoiceView":
        """From a row of `repository.for_staff`."""
        more = {"user_id": row.user_id, "email": row.email, "stripe_invoice_id": row.stripe_invoice_id}
        return cls(**facts_of(row), **more)


class InvoiceReasonGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why it is done."""

    reason: Reason


class CreditedLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line of the invoice, and what is credited of it."""

    line: Annotated[int, Meta(ge=1, le=10, description="Its place among the invoice's `lines`, from 1.", examples=[1])]
    amount: Annotated[
        int, Meta(ge=1, le=_MOST, description="In minor units, before discounts and tax.", examples=[1000])
    ]


class CreditNoteGiven(InvoiceReasonGiven, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By how much an invoice is reduced. Exactly one of `amount` and `lines`."""

    amount: Annotated[
        Annotated[int, Meta(ge=1, le=_MOST)] | None,
        Meta(description="In minor units, taxes included.", examples=[1000]),
    ] = None
    lines: Annotated[
        Annotated[list[CreditedLine], Meta(min_length=1, max_length=10)] | None,
        Meta(description="By lines; each line's discounts and tax go with it.", examples=[None]),
    ] = None
    to: Annotated[
        CreditTo | None,
        Meta(
            description=(
                "Where the money of a paid invoice goes: back to the card (`refund`), to the customer's balance"
                " (`credit`), or it went back already, outside Stripe (`out_of_band`). Absent for an open invoice."
            ),
            examples=["credit"],
        ),
    ] = None


class BalanceGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of a customer's balance."""

    amount: Annotated[
        int,
        Meta(ge=-_MOST, le=_MOST, description="In minor units. Positive: credit. Negative: owed.", examples=[1000]),
    ]
    currency: Annotated[
        str | None,
        Meta(description="ISO 4217, in small letters; absent: the customer's.", examples=["usd"]),
    ] = None
    description: Annotated[
        str, Meta(min_length=1, max_length=350, description="What the customer reads.", examples=["Goodwill"])
    ]
    reason: Reason
