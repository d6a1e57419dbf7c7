"""Changing a subscription at Stripe: up at once if it is paid, down with the next period, to an end, and back.

An upgrade is a pending update: the invoice for the rest of the period is charged now, and only when it is paid does the
subscription become what was asked for. A card that is declined leaves nothing: the invoice is voided, which ends the
update, so that nobody is charged later for a wish of the day before. A card whose bank wants its owner's word leaves
the update waiting, for 23 hours at most.

A downgrade is a schedule: the present phase to the end of its period, then one at the new price, then the schedule lets
the subscription go. Stripe itself changes the price in the instant in which it makes the renewal's invoice.

Each call has a key that hangs on the id of a stored wish: a try that died half-way goes on where it was.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol
from uuid import UUID

import msgspec
import stripe

from billing_api.gateways.stripe.client import (
    StripeGateway,
    names_gone_prices,
    stripe_answers,
)
from billing_api.gateways.stripe.facts import SubscriptionFacts
from core.errors import PaymentDeclined
from core.money import Money
from db.models.licensing import Interval

_UNKNOWN: Final = (
    "Stripe does not answer; whether the change was made is not known. Send the same request with the same"
    " Idempotency-Key again, or look at the subscription"
)
_NO_CARD: Final = "no payment method is on file; add one and try again with a new Idempotency-Key"


class PaymentNeeded(msgspec.Struct, frozen=True):
    """The bank wants its customer's word; `page_url` is where it is given."""

    page_url: str | None


class SubscriptionChanges(Protocol):
    """What we ask of Stripe about a subscription that runs. `change_id` makes an effect happen once.

    GoneAtStripe where Stripe has the price no more.
    """

    async def upgrade(self, change_id: UUID, facts: SubscriptionFacts, price_id: str) -> PaymentNeeded | None:
        """None: it is paid and counts. PaymentDeclined: nothing has changed."""

    async def downgrade(self, change_id: UUID, facts: SubscriptionFacts, price_id: str, interval: Interval) -> None:
        """With the next period."""

    async def take_back(self, change_id: UUID, facts: SubscriptionFacts) -> None:
        """Whatever was to come, an end or another price, does not."""

    async def end_with_period(self, change_id: UUID, facts: SubscriptionFacts) -> None: ...

    async def cost_now(self, facts: SubscriptionFacts, price_id: str) -> Money:
        """What an upgrade at this moment would charge."""


class StripeChanges:
    def __init__(self, stripe_: StripeGateway) -> None:
        self._v1 = stripe_.v1

    async def upgrade(self, change_id: UUID, facts: SubscriptionFacts, price_id: str) -> PaymentNeeded | None:
        async with _asked():
            try:
                subscription = await self._v1.subscriptions.update_async(
                    facts.id,
                    {
                        "items": [{"id": facts.item_id, "price": price_id}],
                        "payment_behavior": "pending_if_incomplete",
                        "proration_behavior": "always_invoice",
                    },
                    {"idempotency_key": f"change-{change_id}"},
                )
            except stripe.InvalidRequestError as failure:
                names_ours = (failure.param or "").startswith("items")  # a price, say, that Stripe has no more
                if failure.code == "resource_missing" and failure.http_status != 404 and not names_ours:
                    raise PaymentDeclined(_NO_CARD) from failure
                raise
            except stripe.CardError as failure:
                raise _declined(failure.user_message) from failure
            if subscription.pending_update is None or subscription.latest_invoice is None:
                return None
            return await self._judge_payment(change_id, str(subscription.latest_invoice))

    async def _judge_payment(self, change_id: UUID, invoice_id: str) -> PaymentNeeded | None:
        """The answer may be a replayed one and old; the invoice, read now, says how the payment stands."""
        expand = "payments.data.payment.payment_intent"
        invoice = await self._v1.invoices.retrieve_async(invoice_id, {"expand": [expand]})
        if invoice.status == "paid":
            return None
        intents = [one.payment.payment_intent for one in (invoice.payments.data if invoice.payments else ())]
        intent = next((one for one in intents if isinstance(one, stripe.PaymentIntent)), None)
        if invoice.status == "open" and intent is not None and intent.status == "requires_action":
            return PaymentNeeded(getattr(invoice, "hosted_invoice_url", None))
        if invoice.status == "open":
            await self._void(change_id, invoice_id)
        error = intent.last_payment_error if intent is not None else None
        raise _declined(error.message if error is not None else None)

    async def downgrade(self, change_id: UUID, facts: SubscriptionFacts, price_id: str, interval: Interval) -> None:
        async with _asked():
            schedule_id = facts.schedule_id or await self._schedule(change_id, facts)
            start, end = int(facts.period_start.timestamp()), int(facts.period_end.timestamp())
            await self._v1.subscription_schedules.update_async(
                schedule_id,
                {
                    "end_behavior": "release",
                    "proration_behavior": "none",
                    "phases": [
                        {"items": [{"price": facts.price_id, "quantity": 1}], "start_date": start, "end_date": end},
                        {
                            "items": [{"price": price_id, "quantity": 1}],
                            "duration": {"interval": interval.value},
                            "proration_behavior": "none",
                        },
                    ],
                },
                {"idempotency_key": f"change-{change_id}-phases-{start}"},
            )

    async def _schedule(self, change_id: UUID, facts: SubscriptionFacts) -> str:
        """One that so far says what is so anyway: a process that dies after it has changed nothing."""
        made = await self._v1.subscription_schedules.create_async(
            {"from_subscription": facts.id}, {"idempotency_key": f"change-{change_id}-schedule"}
        )
        return made.id

    async def take_back(self, change_id: UUID, facts: SubscriptionFacts) -> None:
        async with _asked():
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
        async with _asked():
            if facts.schedule_id is not None:
                await self._release(change_id, facts.schedule_id)
            if facts.pending_price_id is not None and facts.latest_invoice_id is not None:
                await self._void(change_id, facts.latest_invoice_id)
            await self._v1.subscriptions.update_async(
                facts.id, {"cancel_at_period_end": True}, {"idempotency_key": f"cancel-{change_id}"}
            )

    async def cost_now(self, facts: SubscriptionFacts, price_id: str) -> Money:
        async with names_gone_prices(), stripe_answers():
            invoice = await self._v1.invoices.create_preview_async(
                {
                    "subscription": facts.id,
                    "subscription_details": {
                        "items": [{"id": facts.item_id, "price": price_id}],
                        "proration_behavior": "always_invoice",
                    },
                }
            )
        return Money(invoice.amount_due, invoice.currency)

    async def _release(self, change_id: UUID, schedule_id: str) -> None:
        with _nothing_there():
            await self._v1.subscription_schedules.release_async(
                schedule_id, {}, {"idempotency_key": f"release-{change_id}-{schedule_id}"}
            )

    async def _void(self, change_id: UUID, invoice_id: str) -> None:
        with _nothing_there():
            await self._v1.invoices.void_invoice_async(
                invoice_id, {}, {"idempotency_key": f"void-{change_id}-{invoice_id}"}
            )


@contextmanager
def _nothing_there() -> Iterator[None]:
    """What is not there any more needs no end."""
    try:
        yield
    except stripe.InvalidRequestError as failure:
        if failure.http_status != 404:
            raise


@asynccontextmanager
async def _asked() -> AsyncIterator[None]:
    """Of what may have had its effect nobody says that nothing was charged."""
    async with names_gone_prices(), stripe_answers(_UNKNOWN):
        yield


def _declined(said: str | None) -> PaymentDeclined:
    reason = said or "the payment was declined"
    return PaymentDeclined(
        f"{reason.rstrip('.')}. Your plan is as it was and nothing was charged; mend the payment method, then try again"
        " with a new Idempotency-Key"
    )
