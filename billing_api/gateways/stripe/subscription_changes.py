"""Proration and schedules: upgrade, downgrade, cancellation and resumption of a subscription at Stripe.

An upgrade is a pending update. Stripe charges the prorated invoice for the rest of the period now, and changes the
subscription only when it is paid. Where the card is declined, the invoice is voided, which ends the update. So nobody
is charged later for an upgrade that failed. Where the bank asks the cardholder to confirm, the update waits for 23
hours at most.

A downgrade is a schedule: the present phase to the end of its period, then a phase at the new price, then the release
of the schedule. Stripe changes the price in the instant in which it makes the renewal's invoice.

Each call has an idempotency key derived from the id of a stored request. So an attempt that died half-way is completed
by the next one.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec
import stripe
from stripe.params import SubscriptionUpdateParams

from billing_api.gateways.stripe.client import (
    StripeGateway,
    missing_price_named,
    stripe_errors_mapped,
)
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.errors import PaymentDeclined
from core.money import Money
from db.models.licensing import Interval

_UNKNOWN: Final = (
    "Stripe does not answer, so the change may have been made or not. Send the same request with the same"
    " Idempotency-Key again, or read the subscription"
)
_NO_CARD: Final = "There is no payment method on file. Add one, then try again with a new Idempotency-Key"


class PaymentNeeded(msgspec.Struct, frozen=True):
    """The bank asks the cardholder to confirm the payment, at `page_url`."""

    page_url: str | None


class Wanted(msgspec.Struct, frozen=True):
    """What a subscription is to become."""

    price_id: str
    quantity: int
    keeps_price: bool = False
    """The price is not named then: it may be archived, and could not be chosen any more."""


class CostLine(msgspec.Struct, frozen=True):
    """A line of the invoice that a change would make. A credit is negative."""

    description: str
    amount: int
    start: datetime
    end: datetime


class ChangeCost(msgspec.Struct, frozen=True):
    """The invoice that a change would make. `balance_used`: minor units that the customer's credit pays of it."""

    due: Money
    lines: tuple[CostLine, ...]
    balance_used: int
    period_end: datetime
    """Until when it pays."""


class SubscriptionChanges(Protocol):
    """Changes of an active subscription. Each takes effect once for a `change_id`.

    GoneAtStripe where the price was deleted at Stripe.
    """

    async def upgrade(
        self, change_id: UUID, facts: SubscriptionFacts, wanted: Wanted, prorated_at: datetime | None
    ) -> PaymentNeeded | None:
        """None: it is paid and in force. PaymentDeclined: nothing has changed. `prorated_at`: None means now."""

    async def downgrade(self, change_id: UUID, facts: SubscriptionFacts, wanted: Wanted, interval: Interval) -> None:
        """The new price begins with the next period."""

    async def take_back(self, change_id: UUID, facts: SubscriptionFacts) -> None:
        """Withdraws a planned end or a planned change of price."""

    async def end_with_period(self, change_id: UUID, facts: SubscriptionFacts) -> None: ...

    async def cost_now(self, facts: SubscriptionFacts, wanted: Wanted, prorated_at: datetime) -> ChangeCost:
        """What an upgrade would charge."""

    async def cost_of_renewal(self, facts: SubscriptionFacts, wanted: Wanted) -> Money:
        """What the next invoice at this price would charge."""


class StripeChanges:
    def __init__(self, stripe_: StripeGateway) -> None:
        self._v1 = stripe_.v1

    async def upgrade(
        self, change_id: UUID, facts: SubscriptionFacts, wanted: Wanted, prorated_at: datetime | None
    ) -> PaymentNeeded | None:
        dated: SubscriptionUpdateParams = {} if prorated_at is None else {"proration_date": _seconds(prorated_at)}
        async with _change_errors_mapped():
            try:
                subscription = await self._v1.subscriptions.update_async(
                    facts.id,
                    {
                        "items": [_item(facts, wanted)],
                        "payment_behavior": "pending_if_incomplete",
                        "proration_behavior": "always_invoice",
                        **dated,
                    },
                    {"idempotency_key": f"change-{change_id}"},
                )
            except stripe.InvalidRequestError as failure:
                names_ours = (failure.param or "").startswith("items")  # such as a price that was deleted at Stripe
                if failure.code == "resource_missing" and failure.http_status != 404 and not names_ours:
                    raise PaymentDeclined(_NO_CARD) from failure
                raise
            except stripe.CardError as failure:
                raise _declined(failure.user_message) from failure
            if subscription.pending_update is None or subscription.latest_invoice is None:
                return None
            return await self._judge_payment(change_id, str(subscription.latest_invoice))

    async def _judge_payment(self, change_id: UUID, invoice_id: str) -> PaymentNeeded | None:
        """Reads the invoice now, because Stripe's answer to the update may be an old one, replayed."""
        # 1. Paid, or waiting for the cardholder: the update stays.
        expand = "payments.data.payment.payment_intent"
        invoice = await self._v1.invoices.retrieve_async(invoice_id, {"expand": [expand]})
        if invoice.status == "paid":
            return None
        intents = [one.payment.payment_intent for one in (invoice.payments.data if invoice.payments else ())]
        intent = next((one for one in intents if isinstance(one, stripe.PaymentIntent)), None)
        if invoice.status == "open" and intent is not None and intent.status == "requires_action":
            return PaymentNeeded(getattr(invoice, "hosted_invoice_url", None))
        # 2. Declined: void the invoice, which ends the update.
        if invoice.status == "open":
            await self._void(change_id, invoice_id)
        error = intent.last_payment_error if intent is not None else None
        raise _declined(error.message if error is not None else None)

    async def downgrade(self, change_id: UUID, facts: SubscriptionFacts, wanted: Wanted, interval: Interval) -> None:
        async with _change_errors_mapped():
            # 1. A schedule that says what is in force anyway.
            schedule_id = facts.schedule_id or await self._schedule(change_id, facts)
            # 2. Its phases: the present price to the end of the period, then the new price.
            start, end = int(facts.period_start.timestamp()), int(facts.period_end.timestamp())
            present: Any = {"price": facts.price_id, "quantity": facts.quantity}
            await self._v1.subscription_schedules.update_async(
                schedule_id,
                {
                    "end_behavior": "release",
                    "proration_behavior": "none",
                    "phases": [
                        {"items": [present], "start_date": start, "end_date": end},
                        {
                            "items": [{"price": wanted.price_id, "quantity": wanted.quantity}],
                            "duration": {"interval": interval.value},
                            "proration_behavior": "none",
                        },
                    ],
                },
                {"idempotency_key": f"change-{change_id}-phases-{start}"},
            )

    async def _schedule(self, change_id: UUID, facts: SubscriptionFacts) -> str:
        """Creates a schedule that repeats the present state. If the process dies now, nothing has changed."""
        made = await self._v1.subscription_schedules.create_async(
            {"from_subscription": facts.id}, {"idempotency_key": f"change-{change_id}-schedule"}
        )
        return made.id

    async def take_back(self, change_id: UUID, facts: SubscriptionFacts) -> None:
        async with _change_errors_mapped():
            if facts.schedule_id is not None:
                await self._release(change_id, facts.schedule_id)
            if facts.pending_price_id is not None and facts.latest_invoice_id is not None:
                await self._void(change_id, facts.latest_invoice_id)
            if facts.ends_with_period:
                await self._v1.subscriptions.update_async(
                    facts.id,
                    {"cancel_at_period_end": False} if facts.ends_by_flag else {"cancel_at": ""},
                    {"idempotency_key": f"resume-{change_id}"},
                )

    async def end_with_period(self, change_id: UUID, facts: SubscriptionFacts) -> None:
        async with _change_errors_mapped():
            if facts.schedule_id is not None:
                await self._release(change_id, facts.schedule_id)
            if facts.pending_price_id is not None and facts.latest_invoice_id is not None:
                await self._void(change_id, facts.latest_invoice_id)
            await self._v1.subscriptions.update_async(
                facts.id, {"cancel_at_period_end": True}, {"idempotency_key": f"cancel-{change_id}"}
            )

    async def cost_now(self, facts: SubscriptionFacts, wanted: Wanted, prorated_at: datetime) -> ChangeCost:
        dated: Any = {"proration_behavior": "always_invoice", "proration_date": _seconds(prorated_at)}
        invoice = await self._preview(facts, wanted, dated)
        lines = tuple(_cost_line(line) for line in invoice.lines.data)
        credit = min(max(-(invoice.starting_balance or 0), 0), max(invoice.total, 0))
        until = max((line.end for line in lines), default=facts.period_end)
        return ChangeCost(Money(invoice.amount_due, invoice.currency), lines, credit, until)

    async def cost_of_renewal(self, facts: SubscriptionFacts, wanted: Wanted) -> Money:
        invoice = await self._preview(facts, wanted, {"proration_behavior": "none"})
        return Money(invoice.amount_due, invoice.currency)

    async def _preview(self, facts: SubscriptionFacts, wanted: Wanted, how: Any) -> stripe.Invoice:
        details: Any = {"items": [_item(facts, wanted)], **how}
        async with missing_price_named(), stripe_errors_mapped():
            return await self._v1.invoices.create_preview_async(
                {"subscription": facts.id, "subscription_details": details}
            )

    async def _release(self, change_id: UUID, schedule_id: str) -> None:
        with _missing_ignored():
            await self._v1.subscription_schedules.release_async(
                schedule_id, {}, {"idempotency_key": f"release-{change_id}-{schedule_id}"}
            )

    async def _void(self, change_id: UUID, invoice_id: str) -> None:
        with _missing_ignored():
            await self._v1.invoices.void_invoice_async(
                invoice_id, {}, {"idempotency_key": f"void-{change_id}-{invoice_id}"}
            )


def _item(facts: SubscriptionFacts, wanted: Wanted) -> Any:
    price = {} if wanted.keeps_price else {"price": wanted.price_id}
    return {"id": facts.item_id, "quantity": wanted.quantity, **price}


def _cost_line(line: stripe.InvoiceLineItem) -> CostLine:
    start, end = (datetime.fromtimestamp(instant, UTC) for instant in (line.period.start, line.period.end))
    return CostLine(line.description or "", line.amount, start, end)


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


@contextmanager
def _missing_ignored() -> Iterator[None]:
    """Ignores a 404: an object that is already gone needs no further call."""
    try:
        yield
    except stripe.InvalidRequestError as failure:
        if failure.http_status != 404:
            raise


@asynccontextmanager
async def _change_errors_mapped() -> AsyncIterator[None]:
    """Maps errors of a change. It may have taken effect, so the text must not say that nothing was charged."""
    async with missing_price_named(), stripe_errors_mapped(_UNKNOWN):
        yield


def _declined(said: str | None) -> PaymentDeclined:
    reason = said or "the payment was declined"
    return PaymentDeclined(
        f"{reason.rstrip('.')}. Your plan has not changed and nothing was charged. Update your payment method, then try"
        " again with a new Idempotency-Key"
    )
