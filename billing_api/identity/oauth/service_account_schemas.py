"""Service accounts on the wire."""

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.access.networks import Networks
from billing_api.access.permissions import StaffScope
from billing_api.web import fields
from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.field_errors import FORM

PREFIX: Final = "npsa_"
"""Of a client id, by which the token endpoint tells a service account from a customer's client."""
_DAY: Final = 24 * 3600
_LONGEST_OVERLAP: Final = 7 * _DAY

AccountName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=ONE_LINE,
        description="What it is for. The audit trail calls it so, and it never changes.",
        examples=["bookkeeping export"],
        extra={FORM: ONE_LINE_IN_WORDS},
    ),
]
StaffScopes = Annotated[
    list[StaffScope],
    Meta(
        min_length=1,
        max_length=len(StaffScope),
        description="What it may do. A scope that writes does not read.",
        examples=[["licenses:read", "customers:read"]],
    ),
]


class NewServiceAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program to be, with what it may do and where from."""

    name: AccountName
    scopes: StaffScopes
    networks: Networks = []


class ChangeServiceAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays.

    A scope that is taken away is gone from tokens that are out, too. One that is given needs a new token.
    """

    scopes: StaffScopes | msgspec.UnsetType = msgspec.UNSET
    networks: Networks | msgspec.UnsetType = msgspec.UNSET


class RotateSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the present secret ends."""

    overlap_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=_LONGEST_OVERLAP,
            description="For how many seconds the present secret works beside the new one; 0 where it has leaked.",
            examples=[_DAY],
        ),
    ] = _DAY


class ServiceAccountView(msgspec.Struct, frozen=True, kw_only=True):
    """A service account without its secret."""

    id: Annotated[
        UUID,
        Meta(description="Its id in these routes, and as actor in the audit trail.", examples=[fields.SERVICE_ACCOUNT]),
    ]
    client_id: Annotated[
        str, Meta(description="Its name for POST oauth/token.", examples=[fields.SERVICE_ACCOUNT_CLIENT])
    ]
    name: AccountName
    scopes: StaffScopes
    networks: Networks
    is_active: Annotated[bool, Meta(description="False once it is revoked, for good.", examples=[True])]
    previous_secret_until: Annotated[
        datetime | None,
        Meta(description="Until then the secret before this one works, too. Null: it does not.", examples=[None]),
    ]
    last_used_at: Annotated[
        datetime | None,
        Meta(description="Its last use, to the minute. Null: none yet.", examples=["2026-11-30T23:15:00Z"]),
    ]
    last_used_address: Annotated[str | None, Meta(description="Where that use came from.", examples=["203.0.113.9"])]
    created_at: Annotated[datetime, Meta(description="When it was made.", examples=["2026-11-02T09:30:00Z"])]

    @classmethod
    def of(cls, row: Any, now: datetime) -> "ServiceAccountView":
        is_active = row.revoked_at is None
        overlaps = is_active and row.previous_until is not None and row.previous_until > now
        return cls(
            id=row.id,
            client_id=client_id_of(row.id),
            name=row.name,
            scopes=known(row.scopes),
            networks=row.networks,
            is_active=is_active,
            previous_secret_until=row.previous_until if overlaps else None,
            last_used_at=row.last_used_at,
            last_used_address=row.last_used_address,
            created_at=row.created_at,
        )


class ServiceAccountSecret(msgspec.Struct, frozen=True):
    """The secret is shown this once."""

    service_account: Annotated[ServiceAccountView, Meta(description="The account, as it is in the list.")]
    client_secret: Annotated[
        str, Meta(description="Its secret for POST oauth/token.", examples=[fields.SERVICE_ACCOUNT_SECRET])
    ]


def client_id_of(account_id: UUID) -> str:
    return f"{PREFIX}{account_id.hex}"


def known(scopes: Any) -> list[StaffScope]:
    """In order; a scope of a newer release gives nothing here."""
    return [scope for scope in StaffScope if scope in scopes]
