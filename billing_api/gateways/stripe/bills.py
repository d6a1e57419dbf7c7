"""Bills: what an invoice at Stripe adds up from, reduced to what we keep: its lines, taxes, discounts, credit notes.

All amounts are minor units of the invoice's currency.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import stripe


class BilledLine(msgspec.Struct, frozen=True):
    """A line of an invoice, before discounts and taxes. A negative amount is a credit (proration)."""

    description: str
    amount: int
    quantity: int | None
    start: datetime
    end: datetime


class CreditNoteFacts(msgspec.Struct, frozen=True):
    """What an invoice was reduced by after it was opened."""

    number: str
    amount: int
    status: str
    reason: str | None
    created_at: datetime


class Bill(msgspec.Struct, frozen=True):
    """`subtotal` − `discount` + `tax` = `total`, where prices are without tax. `balance_used` may be negative: owed."""

    subtotal: int
    discount: int
    tax: int
    total: int
    balance_used: int
    remaining: int
    lines: tuple[BilledLine, ...]
    credit_notes: tuple[CreditNoteFacts, ...] = ()


def bill_of(invoice: stripe.Invoice, credit_notes: tuple[CreditNoteFacts, ...] = ()) -> Bill:
    """`invoice` with the first of its lines, of which Stripe gives ten with it."""
    used = 0 if invoice.ending_balance is None else invoice.ending_balance - invoice.starting_balance
    return Bill(
        subtotal=invoice.subtotal,
        discount=sum(one.amount for one in invoice.total_discount_amounts or ()),
        tax=sum(one.amount for one in invoice.total_taxes or ()),
        total=invoice.total,
        balance_used=used,
        remaining=invoice.amount_remaining,
        lines=tuple(_line(line) for line in invoice.lines.data),
        credit_notes=credit_notes,
    )


def has_credit_notes(invoice: stripe.Invoice) -> bool:
    return bool(invoice.pre_payment_credit_notes_amount or invoice.post_payment_credit_notes_amount)


def credit_note_facts(note: stripe.CreditNote) -> CreditNoteFacts:
    return CreditNoteFacts(note.number, note.total, note.status, note.reason, _instant(note.created))


def _line(line: Any) -> BilledLine:
    start, end = _instant(line.period.start), _instant(line.period.end)
    return BilledLine(line.description or "", line.amount, line.quantity, start, end)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
