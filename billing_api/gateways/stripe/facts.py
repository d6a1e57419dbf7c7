"""Anti-corruption layer for Stripe: its objects, reduced to the facts that we read from them.

Only the adapters know where a fact is found. The places are those of the SDK's pinned API version (2026-10-28.endive):
a subscription's period is on its items, an invoice's subscription under `parent`, its payment intents under `payments`.
"""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import stripe

from billing_api.gateways.stripe.bills import Bill, CreditNoteFacts, bill_of

CHECKOUT_ID: Final = "np_checkout_id"
"""The metadata field that carries our checkout's id on sessions and subscriptions."""


EXPANDED: Final = (
    "schedule",
    "default_payment_method",
    "items.data.price.currency_options",
    "discounts.source.coupon",
    "discounts.promotion_code",
)
"""What a subscription is read with."""


class SessionFacts(msgspec.Struct, frozen=True):
    """A Checkout Session. `subscription_id` is set once it has been paid."""

    id: str
    url: str | None
    status: str
    payment_status: str
    customer_id: str | None
    subscription_id: str | None
    checkout_id: UUID | None


class ScheduledPrice(msgspec.Struct, frozen=True):
    """The next price and quantity in the subscription's schedule, and when they start."""

    price_id: str
    starts_at: datetime
    quantity: int = 1


class DiscountFacts(msgspec.Struct, frozen=True):
    """A discount that is in force. One of `percent_off` and `amount_off`, which is in minor units of `currency`."""

    id: str
    code: str | None
    """What the customer typed; None: it was given without a code."""
    percent_off: float | None
    amount_off: int | None
    currency: str | None
    duration: str
    """once, repeating or forever."""
    ends_at: datetime | None


class SubscriptionFacts(msgspec.Struct, frozen=True):
    """A subscription. A change of price names `item_id`. `pending_price_id` takes effect once it is paid."""

    id: str
    customer_id: str
    status: str
    price_id: str
    period_start: datetime
    period_end: datetime
    ends_with_period: bool
    latest_invoice_id: str | None
    checkout_id: UUID | None
    item_id: str
    schedule_id: str | None
    scheduled: ScheduledPrice | None
    pending_price_id: str | None
    renewal_amount: int | None
    """In minor units, before taxes and discounts; None where the price is no fixed amount."""
    currency: str
    ends_by_flag: bool
    """Whether a flag set the end, and not a date: the end is withdrawn in the way in which it was set."""
    ended_at: datetime | None
    was_given_up: bool = False
    """Whether Stripe ended it by itself, because nobody paid."""
    quantity: int = 1
    pending_quantity: int = 1
    """Beside `pending_price_id`."""
    ends_at: datetime | None = None
    """When it will end or has ended, also in the middle of a period; None: it renews."""
    trial_ends_at: datetime | None = None
    discount: DiscountFacts | None = None
    card_fingerprint: str | None = None
    """The same for the same card number of every customer; None where the subscription has no card of its own."""


class PaymentFacts(msgspec.Struct, frozen=True):
    """A payment intent. `amount` in minor units."""

    intent_id: str
    amount: int
    currency: str
    status: str
    method: str | None
    created: datetime
    charge_id: str | None = None
    failure_code: str | None = None
    """The bank's code where it gave one, else Stripe's; with the words for the customer. None where nothing failed."""
    failure_message: str | None = None


class ChargedPeriod(msgspec.Struct, frozen=True):
    """A line of an invoice that charges for a price up to an instant. Credit lines (proration) are left out."""

    price_id: str
    until: datetime
    quantity: int = 1


class InvoiceFacts(msgspec.Struct, frozen=True):
    """An invoice with its payments and attempts. Amounts are minor units. `page_url`: where it can be paid."""

    id: str
    customer_id: str
    subscription_id: str | None
    number: str | None
    status: str
    amount_due: int
    amount_paid: int
    currency: str
    pdf_url: str | None
    created: datetime
    due: datetime | None
    paid_at: datetime | None
    payments: tuple[PaymentFacts, ...]
    page_url: str | None
    charges: tuple[ChargedPeriod, ...]
    bill: Bill
    is_renewal: bool = False
    """Whether a new period begins with it; not a first payment, a change of plan or a one-off invoice."""
    attempts: int = 0
    finalized_at: datetime | None = None
    """Since when it is owed. Stripe tries to collect it at once."""
    next_attempt_at: datetime | None = None

    @property
    def has_failed_renewal(self) -> bool:
        """Whether it is owed for a new period and was not collected; a payment on its way at a bank has not failed."""
        tried = self.status == "open" and self.is_renewal and self.attempts > 0
        return tried and all(payment.status != "processing" for payment in self.payments)

    @property
    def needs_its_owner(self) -> bool:
        """Whether the bank wants the owner to confirm the payment, which no further try of Stripe's can do."""
        return any(
            one.status == "requires_action" or one.failure_code == "authentication_required" for one in self.payments
        )

    def pays_until(self, until: datetime, price_id: str | None = None, quantity: int = 0) -> bool:
        """Whether it is paid and charges for the time until then, at that price where one is given, for so many."""
        fits = (
            one.until >= until and price_id in {None, one.price_id} and one.quantity >= quantity for one in self.charges
        )
        return self.status == "paid" and any(fits)


def subscription_facts(subscription: stripe.Subscription) -> SubscriptionFacts:
    """Needs a subscription that was read with `EXPANDED`."""
    item = subscription["items"].data[0]
    pending = subscription.pending_update
    becomes = pending.subscription_items[0] if pending and pending.subscription_items else None
    ending = subscription.cancellation_details
    return SubscriptionFacts(
        id=subscription.id,
        customer_id=_id(subscription.customer),
        status=subscription.status,
        price_id=item.price.id,
        period_start=_instant(item.current_period_start),
        period_end=_instant(item.current_period_end),
        # Flexible billing writes a planned end as a date; Stripe's portal writes it as a flag.
        ends_with_period=bool(subscription.cancel_at_period_end or subscription.cancel_at),
        latest_invoice_id=_optional_id(subscription.latest_invoice),
        checkout_id=_checkout_id(subscription.metadata),
        item_id=item.id,
        schedule_id=_optional_id(subscription.schedule),
        scheduled=_scheduled(subscription.schedule, item),
        pending_price_id=becomes.price.id if becomes else None,
        renewal_amount=_amount(item, subscription.currency),
        currency=subscription.currency,
        ends_by_flag=bool(subscription.cancel_at_period_end),
        ended_at=_optional_instant(subscription.ended_at),
        was_given_up=bool(ending and ending.reason == "payment_failed"),
        quantity=1 if item.quantity is None else item.quantity,
        pending_quantity=1 if becomes is None or becomes.quantity is None else becomes.quantity,
        ends_at=_end(subscription, item.current_period_end),
        trial_ends_at=_optional_instant(subscription.trial_end),
        discount=_discount(subscription.discounts),
        card_fingerprint=_fingerprint(subscription.default_payment_method),
    )


def _end(subscription: stripe.Subscription, period_end: int) -> datetime | None:
    known = subscription.ended_at or subscription.cancel_at
    return _optional_instant(known or (period_end if subscription.cancel_at_period_end else None))


def _discount(discounts: Any) -> DiscountFacts | None:
    """The first one; a subscription of ours has no more than that."""
    for one in discounts:
        coupon, code = one.source.coupon, one.promotion_code
        return DiscountFacts(
            id=one.id,
            code=getattr(code, "code", None),
            percent_off=None if coupon.percent_off is None else float(coupon.percent_off),
            amount_off=coupon.amount_off,
            currency=coupon.currency,
            duration=coupon.duration,
            ends_at=_optional_instant(one.end),
        )
    return None


def _fingerprint(method: Any) -> str | None:
    card = getattr(method, "card", None)
    fingerprint: str | None = getattr(card, "fingerprint", None)
    return fingerprint


def _amount(item: Any, currency: str) -> int | None:
    """A price may be sold in other currencies than its own: what is billed is its amount in the subscription's."""
    amount: int | None = item.price.unit_amount
    if currency != item.price.currency:
        options = getattr(item.price, "currency_options", None)
        amount = options[currency].unit_amount if options and currency in options else None
    return None if amount is None else amount * (1 if item.quantity is None else item.quantity)


def _scheduled(schedule: Any, item: Any) -> ScheduledPrice | None:
    """The next phase of the schedule, if its price or quantity is another one."""
    for phase in schedule.phases if schedule else ():
        planned = phase["items"][0]
        to_come = (_id(planned.price), 1 if planned.quantity is None else planned.quantity)
        if phase.start_date >= item.current_period_end and to_come != (item.price.id, item.quantity):
            return ScheduledPrice(to_come[0], _instant(phase.start_date), to_come[1])
    return None


def invoice_facts(invoice: stripe.Invoice, credit_notes: tuple[CreditNoteFacts, ...] = ()) -> InvoiceFacts:
    """Needs an invoice that was read with the payment intents of its payments expanded."""
    parent = invoice.parent.subscription_details if invoice.parent else None
    payments = invoice.payments.data if invoice.payments else []
    return InvoiceFacts(
        id=str(invoice.id),
        customer_id=_id(invoice.customer),
        subscription_id=_id(parent.subscription) if parent else None,
        number=invoice.number,
        status=invoice.status or "draft",
        amount_due=invoice.amount_due,
        amount_paid=invoice.amount_paid,
        currency=invoice.currency,
        pdf_url=getattr(invoice, "invoice_pdf", None),
        created=_instant(invoice.created),
        due=_optional_instant(invoice.due_date),
        paid_at=_optional_instant(invoice.status_transitions.paid_at),
        payments=tuple(_payment_facts(p.payment.payment_intent) for p in payments if _is_intent(p.payment)),
        page_url=getattr(invoice, "hosted_invoice_url", None),
        charges=_charges(invoice),
        bill=bill_of(invoice, credit_notes),
        is_renewal=invoice.billing_reason == "subscription_cycle",
        attempts=invoice.attempt_count,
        finalized_at=_optional_instant(invoice.status_transitions.finalized_at),
        next_attempt_at=_optional_instant(invoice.next_payment_attempt),
    )


def _charges(invoice: stripe.Invoice) -> tuple[ChargedPeriod, ...]:
    return tuple(
        ChargedPeriod(
            _id(line.pricing.price_details.price),
            _instant(line.period.end),
            1 if line.quantity is None else line.quantity,
        )
        for line in invoice.lines.data
        if line.amount >= 0 and line.pricing and line.pricing.price_details
    )


def session_facts(session: stripe.checkout.Session) -> SessionFacts:
    return SessionFacts(
        id=session.id,
        url=session.url,
        status=session.status or "open",
        payment_status=session.payment_status,
        customer_id=_optional_id(session.customer),
        subscription_id=_optional_id(session.subscription),
        checkout_id=_checkout_id(session.metadata),
    )


def _payment_facts(intent: Any) -> PaymentFacts:
    failure = intent.last_payment_error
    return PaymentFacts(
        intent_id=intent.id,
        amount=intent.amount,
        currency=intent.currency,
        status=intent.status,
        # Only the charge names the one that was used, and it is too deep to be expanded with the invoice.
        method=intent.payment_method_types[0] if len(intent.payment_method_types) == 1 else None,
        created=_instant(intent.created),
        charge_id=_optional_id(intent.latest_charge),
        failure_code=(getattr(failure, "decline_code", None) or failure.code) if failure else None,
        failure_message=getattr(failure, "message", None) if failure else None,
    )


def _is_intent(payment: Any) -> bool:
    return payment.type == "payment_intent" and payment.payment_intent is not None


def _checkout_id(metadata: Any) -> UUID | None:
    raw = metadata.to_dict().get(CHECKOUT_ID) if metadata else None
    try:
        return UUID(raw) if raw else None
    except ValueError:
        return None  # another program's metadata under our name


def _id(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(reference.id)


def _optional_id(reference: Any) -> str | None:
    return None if reference is None else _id(reference)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _optional_instant(seconds: int | None) -> datetime | None:
    return None if seconds is None else _instant(seconds)
