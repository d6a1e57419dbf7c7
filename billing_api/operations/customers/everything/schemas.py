"""Everything about a customer on the wire."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.access.permissions import Permission
from billing_api.commerce.invoices.schemas import InvoiceView
from billing_api.commerce.payments.schemas import PaymentView
from billing_api.commerce.subscriptions.schemas import SubscriptionView
from billing_api.identity.users.schemas import UserView
from billing_api.licensing.api_keys.schemas import ApiKeyView
from billing_api.licensing.licenses.schemas import AdminLicenseView
from billing_api.operations.audit.schemas import AuditView
from billing_api.operations.customers.notes.schemas import NoteView
from billing_api.web import fields
from db.models.licensing import ApiKey

PartName = Literal[
    "licenses",
    "subscriptions",
    "invoices",
    "payments",
    "api_keys",
    "audit",
    "mails",
    "sessions",
    "second_factor",
    "notes",
]
PARTS: Final[tuple[PartName, ...]] = get_args(PartName)
MailState = Literal["queued", "sent", "parked"]
_WHEN: Final = "2026-03-10T09:30:00Z"


class UsedApiKey(ApiKeyView, frozen=True, kw_only=True):
    """An API key of one of the customer's licenses, without its secret."""

    last_used_address: Annotated[
        str | None,
        Meta(description="Where it signed its last usage report from; null before the first.", examples=["192.0.2.7"]),
    ]

    @classmethod
    def of_row(cls, key: ApiKey, now: datetime) -> "UsedApiKey":
        told = msgspec.structs.asdict(ApiKeyView.of(key, now))
        return cls(**told, last_used_address=key.last_used_address)


class MailView(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to the customer. Its text may hold a link that opens something, so it is not shown."""

    id: Annotated[UUID, Meta(description="The mail's id, which is its Message-ID too.", examples=[fields.EVENT])]
    template: Annotated[str, Meta(description="Which mail it is.", examples=["license_ready"])]
    recipient: Annotated[str, Meta(description="The address that it goes to.", examples=[fields.EMAIL])]
    state: Annotated[
        MailState,
        Meta(
            description="`queued`: it is tried, and tried again. `sent`: the mail server took it. `parked`: given up; "
            "its job is dead, and can be retried.",
            examples=["sent"],
        ),
    ]
    attempts: Annotated[int, Meta(description="How often it was tried so far; 0 once it was sent.", examples=[0])]
    last_error: Annotated[
        str | None, Meta(description="What the mail server said last, where it did not take it.", examples=[None])
    ]
    created_at: Annotated[datetime, Meta(description="When it was written.", examples=[_WHEN])]
    sent_at: Annotated[datetime | None, Meta(description="When it left; null before.", examples=[_WHEN])]

    @classmethod
    def of(cls, row: Any) -> "MailView":
        return cls(
            id=row.id,
            template=row.template,
            recipient=row.recipient,
            state=_state(row),
            attempts=row.attempts or 0,
            last_error=row.last_error,
            created_at=row.created_at,
            sent_at=row.sent_at,
        )


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """A live sign-in of the customer."""

    id: Annotated[UUID, Meta(description="The session's id.", examples=[fields.SESSION])]
    address: Annotated[str | None, Meta(description="Where the sign-in came from.", examples=["192.0.2.7"])]
    user_agent: Annotated[str | None, Meta(description="What the browser said it is.", examples=["Firefox/140.0"])]
    methods: Annotated[
        list[str], Meta(description="What was proved: `pwd`, and `otp` with a second factor.", examples=[["pwd"]])
    ]
    created_at: Annotated[datetime, Meta(description="When it was signed in.", examples=[_WHEN])]
    last_seen_at: Annotated[datetime, Meta(description="When it was last used, to the minute.", examples=[_WHEN])]
    expires_at: Annotated[datetime, Meta(description="When it ends by itself.", examples=["2026-03-17T09:30:00Z"])]

    @classmethod
    def of(cls, row: Any) -> "OpenSession":
        return cls(
            id=row.id,
            address=row.address,
            user_agent=row.user_agent,
            methods=row.amr,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
        )


class FactorState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the customer signs in with an authenticator app."""

    in_use: Annotated[bool, Meta(description="Sign-ins ask for a code.", examples=[True])]
    since: Annotated[datetime | None, Meta(description="Since when; null where none is in use.", examples=[_WHEN])]
    blocked_until: Annotated[
        datetime | None,
        Meta(description="After wrong codes, none is taken until then; null where it is not so.", examples=[None]),
    ]
    unused_recovery_codes: Annotated[int, Meta(description="How many recovery codes are left.", examples=[8])]


class LeftOut(msgspec.Struct, frozen=True):
    """A part that the caller may not see."""

    part: Annotated[PartName, Meta(description="The part's name.", examples=["audit"])]
    permission: Annotated[Permission, Meta(description="What it needs.", examples=["admin.audit.view"])]


class Everything(msgspec.Struct, frozen=True, kw_only=True):
    """One customer, as of one instant. Of each part the newest 20; a part that was left out is null."""

    as_of: Annotated[datetime, Meta(description="When it was read.", examples=[_WHEN])]
    user: Annotated[UserView, Meta(description="The account.")]
    licenses: Annotated[list[AdminLicenseView] | None, Meta(description="Newest first.")] = None
    subscriptions: Annotated[list[SubscriptionView] | None, Meta(description="Newest first.")] = None
    invoices: Annotated[list[InvoiceView] | None, Meta(description="Newest first.")] = None
    payments: Annotated[list[PaymentView] | None, Meta(description="Payments and attempts, newest first.")] = None
    api_keys: Annotated[list[UsedApiKey] | None, Meta(description="Also revoked ones, newest first.")] = None
    audit: Annotated[
        list[AuditView] | None,
        Meta(description="What the customer did, and what was done to the account and its licenses, newest first."),
    ] = None
    mails: Annotated[list[MailView] | None, Meta(description="Newest first.")] = None
    sessions: Annotated[list[OpenSession] | None, Meta(description="Open sign-ins, the last used first.")] = None
    second_factor: Annotated[FactorState | None, Meta(description="The state of the second factor.")] = None
    notes: Annotated[list[NoteView] | None, Meta(description="Notes of staff: pinned ones, then the newest.")] = None
    more: Annotated[
        list[PartName], Meta(description="Parts of which there is more than is shown.", examples=[["payments"]])
    ]
    left_out: Annotated[list[LeftOut], Meta(description="Parts that you may not see.")]


def _state(row: Any) -> MailState:
    if row.sent_at is not None:
        return "sent"
    is_waiting = row.attempts is not None and row.dead_at is None
    return "queued" if is_waiting else "parked"
