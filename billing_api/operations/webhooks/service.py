"""Webhooks from Stripe: verified, stored, answered; a worker processes them later.

Receiving does as little as possible, so that it is fast and its answer is true: after a 200 the event is in Postgres,
with the job that processes it. An event that cannot be verified is refused with 400 and leaves no trace. A verified
event is stored, understood or not: Stripe repeats a refused one for three days, and then disables the endpoint.
"""

from typing import Any
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.operations.webhooks import repository
from billing_api.operations.webhooks.schemas import Received, WebhookEventSummary, WebhookEventView
from billing_api.operations.webhooks.stripe_event import Event, is_signed, read
from core.clock import Clock, utc_now
from core.errors import InvalidInput
from core.jobs import ProcessWebhook
from core.telemetry import logger
from db.models.messaging import WebhookEvent, WebhookSource
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database, SystemTransaction


class UnverifiedEvent(InvalidInput):
    """Stripe did not send this event, or not just now."""


class WebhookReceiver:
    def __init__(self, database: Database, secrets: tuple[str, ...], clock: Clock = utc_now) -> None:
        """`secrets`: every signing secret that is valid now; two while one replaces the other."""
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def receive(self, raw: bytes, signature: str | None) -> Received:
        if not signature or not is_signed(raw, signature, self._secrets, self._clock().timestamp()):
            raise UnverifiedEvent(
                "the Stripe-Signature header is missing, does not fit this body, or its time is not the present"
            )
        event = read(raw)
        async with self._database.as_system() as tx:
            is_new = await take_in(tx, event)
        return Received(received=True, duplicate=not is_new)


async def take_in(tx: SystemTransaction, event: Event) -> bool:
    """Stores the event with the job that processes it; False where it was stored before."""
    stored = await repository.store(tx, WebhookSource.STRIPE, event.id, event.type, event.payload)
    if stored is not None:
        await tx.enqueue(ProcessWebhook(stored))
    return stored is not None


class WebhookProcessor:
    """Processes one stored event; run again, it does nothing new."""

    def __init__(self, database: Database, mirror: Mirror, *, livemode: bool) -> None:
        """`livemode`: whether ours is a live key. An event of the other mode is stored and never mirrored."""
        self._database = database
        self._mirror = mirror
        self._livemode = livemode

    async def process(self, webhook_event_id: UUID) -> None:
        async with self._database.as_system() as tx:
            event = await repository.one(tx, webhook_event_id)
        if event.processed:
            return
        try:
            foreign = event.payload.get("livemode") is not self._livemode and "livemode" in event.payload
            subject = None if foreign else subject_of(event.payload)
            if foreign:
                logger().error("webhook.of_the_other_mode", event_id=event.source_event_id)
            if subject is not None:
                await self._mirror.mirror(subject)
        except BaseException as failure:  # also a cancellation: an admin should see that a job took too long
            async with self._database.as_system() as tx:
                await repository.note_failed(tx, webhook_event_id, f"{type(failure).__name__}: {failure}"[:1000])
            raise
        async with self._database.as_system() as tx:
            await repository.note_processed(tx, webhook_event_id)


class WebhookAdministration:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, principal: Principal, paging: Paging, *, processed: bool | None, event_type: str | None
    ) -> Page[WebhookEventSummary]:
        statement = repository.received(processed=processed, event_type=event_type)
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(WebhookEventSummary(**row._asdict()) for row in found.rows)

    async def one(self, principal: Principal, event_id: UUID) -> WebhookEventView:
        async with self._database.as_staff(principal.user_id) as tx:
            return WebhookEventView.of(await repository.one(tx, event_id))

    async def replay(self, principal: Principal, event_id: UUID) -> WebhookEventView:
        """Has the event processed again; harmless, because its object is read again."""
        async with self._database.as_staff(principal.user_id) as tx:
            event: WebhookEvent = await repository.one(tx, event_id)
            event.processed, event.processed_at, event.error_message = False, None, None
            await tx.enqueue(ProcessWebhook(event_id))
            await tx.audit("webhook_event.replayed", "webhook_event", event_id, event_type=event.event_type)
        return WebhookEventView.of(event)


def subject_of(event: dict[str, Any]) -> StripeObject | None:
    """The object that the event points at; None for kinds of events that have no effect here."""
    match event.get("data"):
        case {
            "object": {
                "object": "checkout.session" | "subscription" | "invoice" as kind,
                "id": str(object_id),
                "customer": str(customer),
            }
        }:
            return StripeObject(kind, object_id, customer)
        # What a charge that was just made says, its invoice says too.
        case {"object": {"object": "charge", "id": str(object_id)}} if event.get("type") == "charge.refunded":
            return StripeObject("charge", object_id, None)
        case {"object": {"object": "refund" | "dispute" as kind, "id": str(object_id)}}:
            return StripeObject(kind, object_id, None)
        case {"object": {"object": "credit_note", "invoice": str(invoice), "customer": str(customer)}}:
            return StripeObject("invoice", invoice, customer)
        case {"object": {"object": "customer", "id": str(object_id)}} if event.get("type") == "customer.deleted":
            return StripeObject("customer", object_id, object_id)
        case _:
            return None
