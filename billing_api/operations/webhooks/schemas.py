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


class WebhookEventView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    source: WebhookSource
    source_event_id: str
    event_type: str
    payload: dict[str, Any]
    processed: bool
    processed_at: datetime | None
    error_message: str | None
    created_at: datetime

    @classmethod
    def of(cls, event: WebhookEvent) -> "WebhookEventView":
        return msgspec.convert(event, cls, from_attributes=True)
