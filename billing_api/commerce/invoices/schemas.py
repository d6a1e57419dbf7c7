"""Invoice schemas: invoices and the customer's balance as JSON."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from billing_api.web.fields import CreatedAt, InvoiceId, SubscriptionId
from core.money import Money
from db.models.commerce import InvoiceStatus

_MONEY = {"amount": 2900, "currency": "usd"}
_NOTHING = {"amount": 0, "currency": "usd"}


class InvoiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice, as Stripe has it."""

    id: InvoiceId
    number: Annotated[
        str | None, Meta(description="Stripe's invoice number, as printed on the PDF.", examples=["NPB-0042"])
    ]
    subscription_id: SubscriptionId | None
    amount_due: Annotated[Money, Meta(description="What the customer has to pay, after discounts, taxes and balance.")]
    amount_paid: Annotated[Money, Meta(description="What has been paid of it.")]
    status: InvoiceStatus
    invoice_pdf_url: Annotated[
        str | None,
        Meta(
            description="Where Stripe has the PDF. `GET invoices/{id}/pdf` gives the same to its owner alone.",
            examples=["https://pay.stripe.com/invoice/acct_1/test_1/pdf"],
        ),
    ]
    created_at: CreatedAt
    due_date: Annotated[
        datetime | None,
        Meta(description="Until when to pay it; null where the card is charged at once.", examples=[None]),
    ]
    paid_at: Annotated[
        datetime | None, Meta(description="When it was paid; null while it is not.", examples=["2026-11-22T16:00:04Z"])
    ]


class InvoicePeriod(msgspec.Struct, frozen=True):
    """The time that a line is for."""

    start: Annotated[datetime, Meta(description="Its begin.", examples=["2026-11-22T16:00:00Z"])]
    end: Annotated[datetime, Meta(description="Its end.", examples=["2026-12-22T16:00:00Z"])]


class InvoiceLine(msgspec.Struct, frozen=True):
    """A line of an invoice, before discounts and taxes."""

    description: Annotated[str, Meta(description="What it is for.", examples=["1 × NextPanel Starter (at $29.00)"])]
    quantity: Annotated[int | None, Meta(description="How many; null where it cannot be told.", examples=[1])]
    amount: Annotated[Money, Meta(description="Negative: a credit.", examples=[_MONEY])]
    period: Annotated[InvoicePeriod, Meta(description="For which time.")]


class CreditNoteLine(msgspec.Struct, frozen=True):
    """A credit note: by how much the invoice was reduced after it was opened."""

    number: Annotated[str, Meta(description="As printed on it.", examples=["NPB-0042-CN-01"])]
    amount: Annotated[Money, Meta(description="By how much the invoice was reduced.", examples=[_MONEY])]
    status: Annotated[str, Meta(description="`issued`, or `void` where it was taken back.", examples=["issued"])]
    reason: Annotated[
        str | None, Meta(description="Why, as Stripe names it; null where nothing was said.", examples=["duplicate"])
    ]
    created_at: CreatedAt


class InvoiceView(InvoiceSummary, frozen=True, kw_only=True):
    """An invoice with what it adds up from."""

    subtotal: Annotated[Money, Meta(description="The sum of its lines.", examples=[_MONEY])]
    discount: Annotated[Money, Meta(description="What codes take off.", examples=[_NOTHING])]
    tax: Annotated[Money, Meta(description="What taxes add.", examples=[_NOTHING])]
    total: Annotated[Money, Meta(description="Subtotal, less discount, and tax.", examples=[_MONEY])]
    balance_used: Annotated[
        Money,
        Meta(
            description="What the customer's balance paid of it. Negative: what was owed there and is paid with it.",
            examples=[_NOTHING],
        ),
    ]
    amount_remaining: Annotated[Money, Meta(description="What is still to be paid.", examples=[_NOTHING])]
    refunded: Annotated[Money, Meta(description="What of its payments went back, or is on its way.")]
    lines: Annotated[list[InvoiceLine], Meta(description="Its lines; the first ten where there are more.")]
    payment_url: Annotated[
        str | None,
        Meta(description="Where its owner can pay it; null where nothing is open.", examples=[None]),
    ]
    credit_notes: Annotated[list[CreditNoteLine], Meta(description="Its credit notes, the oldest first.")]

    @classmethod
    def of(cls, row: Any) -> "InvoiceView":
        """From a row of `repository.invoices`."""
        return cls(**facts_of(row))


def facts_of(row: Any) -> dict[str, Any]:
    """The fields of an `InvoiceView`."""
    amounts = "amount_due amount_paid subtotal discount tax balance_used amount_remaining refunded"  # of one currency
    facts = ("id", "number", "subscription_id", "invoice_pdf_url", "created_at", "due_date", "paid_at")
    return {
        **{name: getattr(row, name) for name in facts},
        **{name: Money(getattr(row, name), row.currency) for name in amounts.split()},
        "total": Money(row.invoice_total, row.currency),
        "status": InvoiceStatus(row.status),
        "lines": [_line(line, row.currency) for line in row.lines],
        "payment_url": row.payment_url if row.status == InvoiceStatus.OPEN else None,
        "credit_notes": [_note(note, row.currency) for note in row.credit_notes],
    }


def _line(line: dict[str, Any], currency: str) -> InvoiceLine:
    period = msgspec.convert({"start": line["start"], "end": line["end"]}, InvoicePeriod)
    return InvoiceLine(line["description"], line["quantity"], Money(line["amount"], currency), period)


def _note(note: dict[str, Any], currency: str) -> CreditNoteLine:
    money = {"amount": note["amount"], "currency": currency}
    return msgspec.convert({**note, "amount": money}, CreditNoteLine)


class BalanceEntry(msgspec.Struct, frozen=True):
    """A change of the balance."""

    at: Annotated[datetime, Meta(description="When.", examples=["2026-11-22T16:00:00Z"])]
    amount: Annotated[Money, Meta(description="Positive: credit was added. Negative: credit was used, or is owed.")]
    balance: Annotated[Money, Meta(description="The balance after it.", examples=[_MONEY])]
    kind: Annotated[
        str, Meta(description="What changed it, as Stripe names it.", examples=["applied_to_invoice", "adjustment"])
    ]
    description: Annotated[
        str | None, Meta(description="The words for it; null where nothing was said.", examples=["Goodwill"])
    ]


class BalanceView(msgspec.Struct, frozen=True):
    """A customer's balance at Stripe: credit that the next invoices use first."""

    balance: Annotated[
        Money | None,
        Meta(
            description="Positive: credit. Negative: owed, and charged with the next invoice. Null: none yet.",
            examples=[_MONEY],
        ),
    ]
    entries: Annotated[list[BalanceEntry], Meta(description="Its latest changes, the newest first; at most 100.")]
