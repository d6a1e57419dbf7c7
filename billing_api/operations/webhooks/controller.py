"""Events over HTTP: received from Stripe, shown to staff."""

from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.access.rate_limits import RateLimiter
from billing_api.operations.webhooks.schemas import Received, WebhookEventSummary, WebhookEventView
from billing_api.operations.webhooks.service import (
    UnverifiedEvent,
    WebhookAdministration,
    WebhookReceiver,
)
from billing_api.web.parameters import STORABLE
from db.paging import Page, Paging


@post("/webhooks/stripe", permission=Permission.SIGNED, failures="webhook_failures", status_code=200, tags=["webhooks"])
async def receive_stripe_event(
    request: Request[Any, Any, Any],
    webhook_receiver: NamedDependency[WebhookReceiver],
    limits: NamedDependency[RateLimiter],
    signature: Annotated[
        str | None,
        HeaderParameter(
            name="Stripe-Signature", description="Stripe's signature of the body; without it the event is refused."
        ),
    ] = None,
) -> Received:
    """Receive an event from Stripe.

    For Stripe alone. The event is stored, and handled later; 200 means that it is stored. Stripe sends it again after
    any other status.
    """
    try:
        return await webhook_receiver.receive(await request.body(), signature)
    except UnverifiedEvent:
        await limits.count_failure(request)
        raise


class AdminWebhookController(Controller):
    path = "/admin/webhook-events"
    tags = ("admin",)

    @get("/", permission=Permission.OPERATIONS_VIEW)
    async def list_webhook_events(
        self,
        principal: NamedDependency[Principal],
        webhook_administration: NamedDependency[WebhookAdministration],
        paging: NamedDependency[Paging],
        processed: Annotated[
            bool | None,
            QueryParameter(description="Only events that have had their effect, or only those that have not."),
        ] = None,
        event_type: Annotated[
            str | None, QueryParameter(pattern=STORABLE, max_length=200, description="Only events of this type.")
        ] = None,
    ) -> Page[WebhookEventSummary]:
        """List received events.

        The newest first, without their payloads.
        """
        return await webhook_administration.page(principal, paging, processed=processed, event_type=event_type)

    @get("/{event_id:uuid}", permission=Permission.OPERATIONS_VIEW)
    async def get_webhook_event(
        self,
        principal: NamedDependency[Principal],
        webhook_administration: NamedDependency[WebhookAdministration],
        event_id: FromPath[UUID],
    ) -> WebhookEventView:
        """Read a received event.

        With its payload, as it was received.
        """
        return await webhook_administration.one(principal, event_id)

    @post("/{event_id:uuid}/replay", permission=Permission.OPERATIONS_CHANGE, status_code=200)
    async def replay_webhook_event(
        self,
        principal: NamedDependency[Principal],
        webhook_administration: NamedDependency[WebhookAdministration],
        event_id: FromPath[UUID],
    ) -> WebhookEventView:
        """Handle a received event again.

        Does no harm to one that was handled: it reads the object at Stripe as it is now.
        """
        return await webhook_administration.replay(principal, event_id)
