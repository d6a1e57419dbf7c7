"""Jobs on the wire."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from billing_api.web import fields
from billing_api.web.fields import CreatedAt
from db.models.messaging import JobState, OutboxRow


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job of the outbox."""

    id: Annotated[int, Meta(description="The job's number; rises with time.", examples=[fields.JOB])]
    state: Annotated[
        JobState,
        Meta(description="`dead`: it was tried as often as is allowed, and waits for staff.", examples=["waiting"]),
    ]
    lane: Annotated[
        str,
        Meta(description="The queue: projection (Redis) or partner (Stripe, NextPanel, mails).", examples=["partner"]),
    ]
    job: Annotated[
        dict[str, Any],
        Meta(
            description="Its kind under `type`, and the ids it is about.",
            examples=[{"type": "SendMail", "mail_id": "019ab3f4-8e31-7aa1-8d01-0c1d2e3f4a5b"}],
        ),
    ]
    attempts: Annotated[int, Meta(description="How often it was tried.", examples=[2])]
    last_error: Annotated[
        str | None,
        Meta(description="Why the last try failed; null where none did.", examples=["the mail relay does not answer"]),
    ]
    created_at: CreatedAt
    due_at: Annotated[datetime, Meta(description="It is not tried before.", examples=["2026-11-22T16:04:00Z"])]
    done_at: Annotated[datetime | None, Meta(description="When it was done; null while it is not.", examples=[None])]
    dead_at: Annotated[
        datetime | None, Meta(description="When it was given up; null while it is not.", examples=[None])
    ]

    @classmethod
    def of(cls, row: OutboxRow) -> "JobView":
        return msgspec.convert(row, cls, from_attributes=True)
