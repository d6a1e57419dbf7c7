"""OAuth clients, and what they get, on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from billing_api.access.permissions import Scope
from billing_api.access.tokens import ACCESS_LIFETIME
from billing_api.identity.oauth.token_request import TokenError
from billing_api.web import fields
from billing_api.web.fields import AccessToken, ClientId, CreatedAt, ExpiresIn, TokenType
from billing_api.web.parameters import PersonName


class NewClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program that is to read the account."""

    name: Annotated[PersonName, Meta(description="The program's name in lists.", examples=["Bookkeeping"])]
    scopes: Annotated[
        list[Scope],
        Meta(
            min_length=1,
            max_length=len(Scope),
            description="What it may read.",
            examples=[["invoices:read", "payments:read"]],
        ),
    ]


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """A program that may read the account, without its secret."""

    client_id: ClientId
    name: Annotated[str, Meta(description="The program's name, as its owner gave it.", examples=["Bookkeeping"])]
    scopes: Annotated[list[Scope], Meta(description="What it may read.", examples=[["invoices:read", "payments:read"]])]
    created_at: CreatedAt
    previous_secret_until: Annotated[
        datetime | None,
        Meta(description="Until when the previous secret works too; null: it does not.", examples=[None]),
    ]

    @classmethod
    def of(cls, row: Any) -> "ClientView":
        return cls(**facts_of(row))


class ClientIssued(ClientView, frozen=True, kw_only=True):
    """A program with its secret, which is shown this once."""

    client_secret: Annotated[
        str, Meta(description="The secret. It is stored as a hash only.", examples=[fields.CLIENT_SECRET])
    ]


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
    """An access token for a program (RFC 6749, 5.1)."""

    access_token: AccessToken
    scope: Annotated[
        str, Meta(description="What was granted, separated by spaces.", examples=["invoices:read payments:read"])
    ]
    token_type: TokenType = "Bearer"  # noqa: S105  a scheme's name
    expires_in: ExpiresIn = int(ACCESS_LIFETIME.total_seconds())


class TokenFault(msgspec.Struct, frozen=True):
    """Why no token was granted (RFC 6749, 5.2)."""

    error: TokenError
    error_description: Annotated[
        str,
        Meta(
            description="What is wrong and what to do, for people.",
            examples=["client or secret is wrong, or the client was revoked"],
        ),
    ]
