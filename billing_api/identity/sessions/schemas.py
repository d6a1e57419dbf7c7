"""Sessions on the wire."""

from datetime import datetime
from uuid import UUID

import msgspec


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that lives. `current`: this very request's. `last_seen_at` is right to about a minute."""

    id: UUID
    current: bool
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class SessionsEnded(msgspec.Struct, frozen=True):
    ended: int
