"""Received events on the wire."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from db.models.messaging import WebhookEvent, WebhookSource


class Received(msgspec.Struct, frozen=True):
    """The answer to a sender: the event is stored. `duplicate`: it was stored before."""

    received: bool
    duplicate: bool


class WebhookEventSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A received event without its payload, as lists have it."""

    id: UUID
    source: WebhookSource
    source_event_id: str
    event_type: str
    processed: bool
    processed_at: datetime | None
    error_message: str | None
    created_at: datetime


class WebhookEventView(WebhookEventSummary, frozen=True, kw_only=True):
    """`payload`: the event as it was received. Of a deleted customer only ids are left."""

    payload: dict[str, Any]

    @classmethod
    def of(cls, event: WebhookEvent) -> "WebhookEventView":
        return msgspec.convert(event, cls, from_attributes=True)
