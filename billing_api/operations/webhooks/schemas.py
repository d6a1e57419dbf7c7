"""Received events on the wire."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.web import fields
from db.models.messaging import WebhookEvent, WebhookSource

_RECEIVED: Final = "2026-03-10T09:30:00Z"
_PROCESSED: Final = "2026-03-10T09:30:01Z"


class Received(msgspec.Struct, frozen=True):
    """The event is stored."""

    received: Annotated[bool, Meta(description="Always true here.", examples=[True])]
    duplicate: Annotated[bool, Meta(description="Whether it was stored before.", examples=[False])]


class WebhookEventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A received event without its payload, as lists have it."""

    id: Annotated[UUID, msgspec.Meta(description="The event's id with us.", examples=[fields.EVENT])]
    source: Annotated[WebhookSource, msgspec.Meta(description="Who sent it.")]
    source_event_id: Annotated[
        str, msgspec.Meta(description="The event's id with its sender.", examples=["evt_1QAbCdEfGhIjKlMn"])
    ]
    event_type: Annotated[
        str, msgspec.Meta(description="What happened, in the sender's words.", examples=["invoice.paid"])
    ]
    processed: Annotated[bool, msgspec.Meta(description="Whether it has had its effect.", examples=[True])]
    processed_at: Annotated[
        datetime | None,
        msgspec.Meta(description="When it had its effect; null where it has had none yet.", examples=[_PROCESSED]),
    ]
    error_message: Annotated[
        str | None, msgspec.Meta(description="Why the last attempt failed; null where none has.", examples=[None])
    ]
    created_at: Annotated[datetime, msgspec.Meta(description="When it was received.", examples=[_RECEIVED])]


class WebhookEventView(WebhookEventSummary, frozen=True, kw_only=True):
    """A received event with its payload."""

    payload: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="The event as it was received.",
            examples=[{"id": "evt_1QAbCdEfGhIjKlMn", "object": "event", "type": "invoice.paid"}],
        ),
    ]

    @classmethod
    def of(cls, event: WebhookEvent) -> "WebhookEventView":
        return msgspec.convert(event, cls, from_attributes=True)
