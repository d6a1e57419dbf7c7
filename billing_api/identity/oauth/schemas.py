"""OAuth clients, and what they get, on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.access.permissions import Scope
from billing_api.access.tokens import ACCESS_LIFETIME
from billing_api.identity.oauth.token_request import TokenError
from billing_api.web import fields
from billing_api.web.parameters import PersonName


class NewClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: PersonName
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(Scope), description="what it may read")]


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """`previous_secret_until`: until when the previous secret stays valid."""

    client_id: UUID
    name: str
    scopes: list[Scope]
    created_at: datetime
    previous_secret_until: datetime | None

    @classmethod
    def of(cls, row: Any) -> "ClientView":
        return cls(**facts_of(row))


class ClientIssued(ClientView, frozen=True, kw_only=True):
    """The secret is shown this once."""

    client_secret: str


def facts_of(row: Any) -> dict[str, Any]:
    return {
        "client_id": row.id,
        "name": row.name,
        "scopes": [Scope(scope) for scope in row.scopes],
        "created_at": row.created_at,
        "previous_secret_until": row.previous_until,
    }


class TokenForm(msgspec.Struct, frozen=True):
    """The form of RFC 6749, 4.4.2, for the OpenAPI document; it is read by token_request.py, by the RFC's own rules."""

    grant_type: Annotated[Literal["client_credentials"], Meta(description="The only grant that is supported.")]
    scope: Annotated[
        str,
        Meta(
            description="What the token may read: scopes of the client, separated by spaces. Absent: all of them.",
            examples=["licenses:read usage:read"],
        ),
    ] = ""
    client_id: Annotated[
        str, Meta(description="The client's id; here, or by HTTP Basic.", examples=[fields.CLIENT])
    ] = ""
    client_secret: Annotated[
        str, Meta(description="The client's secret; here, or by HTTP Basic.", examples=[fields.CLIENT_SECRET])
    ] = ""


class TokenGranted(msgspec.Struct, frozen=True):
    """RFC 6749, 5.1. `scope`: what was granted, separated by spaces."""

    access_token: str
    scope: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme's name
    expires_in: int = int(ACCESS_LIFETIME.total_seconds())


class TokenFault(msgspec.Struct, frozen=True):
    """RFC 6749, 5.2."""

    error: TokenError
    error_description: str
