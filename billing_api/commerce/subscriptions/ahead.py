"""Amounts ahead of a subscription, as JSON: its discount, its next invoice, and what is to be paid now.

A file of its own beside schemas.py, which is long.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from core.money import Money
from db.models.commerce import SubscriptionStatus
from db.reads import Record


class DiscountView(msgspec.Struct, frozen=True, kw_only=True):
    """A discount that is in force."""

    code: Annotated[
        str | None, Meta(description="The code it came with; null: it was given without one.", examples=["WELCOME20"])
    ]
    percent_off: Annotated[float | None, Meta(description="Per cent; null: an amount is taken off.", examples=[20])]
    amount_off: Annotated[Money | None, Meta(description="Null: a percentage is taken off.", examples=[None])]
    duration: Annotated[
        Literal["once", "repeating", "forever"],
        Meta(description="`once`: the next invoice alone. `repeating`: until `ends_at`.", examples=["repeating"]),
    ]
    ends_at: Annotated[
        datetime | None, Meta(description="When it ends, where it is `repeating`.", examples=["2027-02-22T16:00:00Z"])
    ]


class NextInvoice(msgspec.Struct, frozen=True):
    """The invoice after this one."""

    amount: Annotated[Money, Meta(description="What it would charge, after discounts and taxes.")]
    at: Annotated[datetime, Meta(description="When it is made.", examples=["2026-12-22T16:00:00Z"])]


class OpenPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that did not come about."""

    amount: Annotated[Money, Meta(description="What is to be paid.")]
    reason: Annotated[
        Literal["declined", "action_required"],
        Meta(
            description="`action_required`: the bank wants the customer to confirm it, at `url`.", examples=["declined"]
        ),
    ]
    url: Annotated[
        str | None,
        Meta(description="Where it can be paid now.", examples=["https://invoice.stripe.com/i/acct_1/test_1"]),
    ]
    next_attempt_at: Annotated[
        datetime | None,
        Meta(description="When the card is tried again; null: it is not.", examples=["2026-12-25T16:00:00Z"]),
    ]


def discount_of(row: Record) -> DiscountView | None:
    """From a row of own_repository, as the next two."""
    told: dict[str, Any] | None = row.discount
    if told is None or row.status == SubscriptionStatus.CANCELLED:
        return None
    taken = told["amount_off"]
    return DiscountView(
        code=told["code"],
        percent_off=told["percent_off"],
        amount_off=None if taken is None else Money(taken, told["currency"]),
        duration=told["duration"],
        ends_at=told["ends_at"] and msgspec.convert(told["ends_at"], datetime),
    )


def next_invoice_of(row: Record) -> NextInvoice | None:
    """Null where it is not renewed. Until Stripe was asked: the price."""
    amount = row.renewal_amount if row.next_amount is None else row.next_amount
    if amount is None or row.ends_at is not None or row.status == SubscriptionStatus.CANCELLED:
        return None
    return NextInvoice(Money(amount, row.renewal_currency), row.current_period_end)


def open_payment_of(row: Record) -> OpenPayment | None:
    told: dict[str, Any] | None = row.open_payment
    if told is None:
        return None
    return OpenPayment(
        amount=Money(told["amount"], told["currency"]),
        reason="action_required" if told["needs_owner"] else "declined",
        url=told["url"],
        next_attempt_at=told["next_attempt_at"] and msgspec.convert(told["next_attempt_at"], datetime),
    )
