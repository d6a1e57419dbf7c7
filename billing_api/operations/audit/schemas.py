"""The audit trail on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.operations.audit.views import Account, Named
from billing_api.web import fields
from db.models.identity import Role

ActorKind = Literal["system", "customer", "staff", "service_account", "erased", "unknown"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who did something, as the account is called now."""

    kind: Annotated[
        ActorKind,
        Meta(
            description="`system`: the application itself. `service_account`: a program of the seller. "
            "`erased`: the account was deleted, and its name with it. "
            "`unknown`: no account has this id.",
            examples=["staff"],
        ),
    ]
    id: Annotated[
        UUID | None,
        Meta(description="Null for the application itself.", examples=["019ab100-4f70-7d8b-bc0d-7b4d6c5eaf11"]),
    ]
    name: Annotated[
        str | None, Meta(description="Null where there is none, or where it was erased.", examples=["Grace Hopper"])
    ]
    email: Annotated[
        str | None,
        Meta(description="Null where there is none, or where it was erased.", examples=["grace@example.com"]),
    ]

    @classmethod
    def of(cls, actor_id: UUID | None, account: Account) -> "Actor":
        kind = _kind(actor_id, account)
        is_told = kind in {"customer", "staff"}
        return cls(
            kind=kind,
            id=actor_id,
            name=account.full_name if is_told else account.service_account,
            email=account.email if is_told else None,
        )


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """A privileged act: who did it, to what, and why."""

    id: Annotated[int, Meta(description="Rises with time.", examples=[90411])]
    at: Annotated[datetime, Meta(description="When it was done.", examples=["2026-11-22T16:00:00Z"])]
    actor_id: Annotated[
        UUID | None, Meta(description="As in `actor`; null is the application itself.", examples=[fields.STAFF])
    ]
    actor: Annotated[Actor, Meta(description="Who did it, as the account is called now.")]
    action: Annotated[str, Meta(description="What was done.", examples=["license.suspended_by_admin"])]
    target_kind: Annotated[str, Meta(description="The kind of object that was acted on.", examples=["license"])]
    target_id: Annotated[
        str, Meta(description="What was acted on: the id of an object of this kind.", examples=[fields.LICENSE])
    ]
    detail: Annotated[
        dict[str, Any],
        Meta(
            description="What is known of the act; `reason` is for staff, `message` is what the customer reads.",
            examples=[{"before": "active", "reason": "ticket 93", "message": "Please pay the open invoice."}],
        ),
    ]
    request_id: Annotated[
        str | None,
        Meta(description="The request that did it, as in the logs; null where none did.", examples=[fields.REQUEST]),
    ]

    @classmethod
    def of(cls, row: Named) -> "AuditView":
        entry = row.entry
        return cls(
            id=entry.id,
            at=entry.at,
            actor_id=entry.actor_id,
            actor=Actor.of(entry.actor_id, row.account),
            action=entry.action,
            target_kind=entry.target_kind,
            target_id=entry.target_id,
            detail=entry.detail,
            request_id=entry.request_id,
        )


class LicenseEventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a license as its owner is told it: staff have no names here, and their reasons are not shown.

    `detail.message`: what staff wrote to the owner about it, or why the application did it.
    """

    at: Annotated[datetime, Meta(description="When it was done.", examples=["2026-11-22T16:00:00Z"])]
    action: Annotated[str, Meta(description="What was done.", examples=["license.suspended_by_admin"])]
    actor: Annotated[
        Literal["owner", "staff", "system"],
        Meta(
            description="Who did it. Staff have no names here; `system` is the application itself.", examples=["staff"]
        ),
    ]
    detail: Annotated[
        dict[str, Any],
        Meta(
            description=(
                "What is known of it. `message`: what staff wrote to the owner about it, or why the application did it."
            ),
            examples=[{"message": "Please pay the open invoice."}],
        ),
    ]


def _kind(actor_id: UUID | None, account: Account) -> ActorKind:
    if actor_id is None:
        return "system"
    if account.service_account is not None:
        return "service_account"
    if account.role is None:
        return "unknown"
    if account.deleted_at is not None:
        return "erased"
    return "customer" if account.role is Role.CUSTOMER else "staff"
