"""Sessions on the wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from billing_api.access.tokens import ACCESS_LIFETIME


class AccessGranted(msgspec.Struct, frozen=True):
    """`expires_in` is in seconds. The refresh token is in a cookie that scripts cannot read."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme's name
    expires_in: int = int(ACCESS_LIFETIME.total_seconds())


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A live sign-in. `current`: the one of this request. `last_seen_at` is exact to about a minute."""

    id: UUID
    current: bool
    user_agent: str | None
    address: str | None
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


class SessionsEnded(msgspec.Struct, frozen=True):
    ended: int
