"""Sessions on the wire."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.access.tokens import ACCESS_LIFETIME
from billing_api.web.fields import AccessToken, CreatedAt, ExpiresIn, SessionId, TokenType
from db.reads import Record


class AccessGranted(msgspec.Struct, frozen=True):
    """Signed in. The refresh token is in a cookie that scripts cannot read."""

    access_token: AccessToken
    token_type: TokenType = "Bearer"  # noqa: S105  a scheme's name
    expires_in: ExpiresIn = int(ACCESS_LIFETIME.total_seconds())


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A live sign-in."""

    id: SessionId
    current: Annotated[bool, Meta(description="Whether it is the sign-in of this request.", examples=[True])]
    user_agent: Annotated[
        str | None,
        Meta(
            description="The browser or program, as it named itself at the sign-in; null where it did not.",
            examples=["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"],
        ),
    ]
    address: Annotated[
        str | None,
        Meta(description="The IP address that signed in; null where it is not known.", examples=["203.0.113.7"]),
    ]
    created_at: CreatedAt
    last_seen_at: Annotated[
        datetime, Meta(description="When it was last used, to about a minute.", examples=["2026-11-23T09:30:00Z"])
    ]
    expires_at: Annotated[
        datetime, Meta(description="When it ends, if it is not used until then.", examples=["2026-12-23T09:30:00Z"])
    ]

    @classmethod
    def read(cls, row: Record, *, current: bool) -> "SessionView":
        return cls(
            id=row.id,
            current=current,
            user_agent=row.user_agent,
            address=row.address,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
        )


class SessionsEnded(msgspec.Struct, frozen=True):
    """Signed out everywhere else."""

    ended: Annotated[int, Meta(description="How many sign-ins were ended.", examples=[2])]
