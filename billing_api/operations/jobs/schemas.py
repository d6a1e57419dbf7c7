"""Jobs on the wire."""

from datetime import datetime
from typing import Any

import msgspec

from db.models.messaging import JobState, OutboxRow


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """`job`: its kind under `type`, and the ids it is about. `due_at`: not tried again before."""

    id: int
    state: JobState
    lane: str
    job: dict[str, Any]
    attempts: int
    last_error: str | None
    created_at: datetime
    due_at: datetime
    done_at: datetime | None
    dead_at: datetime | None

    @classmethod
    def of(cls, row: OutboxRow) -> "JobView":
        return msgspec.convert(row, cls, from_attributes=True)
