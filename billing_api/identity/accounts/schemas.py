"""Accounts on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from billing_api.access.permissions import Permission, Principal, permissions_of
from billing_api.identity.accounts.preferences import Locale, TimeZone, canonical_locale, checked_time_zone
from billing_api.identity.credentials.schemas import ChosenEmail, ChosenPassword, GivenPassword
from billing_api.identity.second_factor.schemas import FactorKind
from billing_api.web import fields
from billing_api.web.fields import Email, EmailIsVerified
from billing_api.web.parameters import PersonName
from db.models.identity import Role
from db.reads import Record

# An impossible address is refused at registration, with a reason. At sign-in it is wrong like any other guess, so that
# the answer shows nothing; this bound only stops oversized input.
GivenEmail = Annotated[str, Meta(max_length=1000, description="The account's e-mail address.", examples=[fields.EMAIL])]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who opens an account."""

    email: ChosenEmail
    password: ChosenPassword
    full_name: PersonName
    company_name: Annotated[
        PersonName | None,
        Meta(
            description="The company's name; null or absent for a private person.", examples=["Analytical Engines Ltd"]
        ),
    ] = None


class Registered(msgspec.Struct, frozen=True):
    """The same for every address, so that the answer does not show who has an account."""

    email: Email
    message: Annotated[str, Meta(description="What to do next, for people.")] = (
        "We have sent a mail to this address; follow the link in it to go on."
    )


class EmailProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of the mail that asks to confirm an address."""

    token: Annotated[fields.LinkToken, Meta(min_length=1, max_length=200)]


class EmailVerified(msgspec.Struct, frozen=True):
    """The address is confirmed: the account can be used."""

    email: Email
    email_verified: EmailIsVerified = True


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address and password of an account."""

    email: GivenEmail
    password: GivenPassword


class MySecondFactor(msgspec.Struct, frozen=True):
    """The factor that the account has beside its password."""

    kind: Annotated[FactorKind, Meta(description="An authenticator app.", examples=["totp"])]
    since: Annotated[datetime, Meta(description="When it was confirmed.", examples=["2026-03-01T09:00:00Z"])]


class MySession(msgspec.Struct, frozen=True):
    """The sign-in of this request."""

    id: Annotated[UUID, Meta(description="Its id in me/sessions.", examples=[fields.SESSION])]
    created_at: Annotated[datetime, Meta(description="When it began.", examples=["2026-03-10T08:00:00Z"])]
    authenticated_at: Annotated[
        datetime,
        Meta(description="When the password was last given; a step-up renews it.", examples=["2026-03-10T08:00:00Z"]),
    ]
    methods: Annotated[
        tuple[str, ...],
        Meta(description="What was given then: `pwd`, `otp` (RFC 8176).", examples=[["pwd", "otp"]]),
    ]


class Impersonator(msgspec.Struct, frozen=True):
    """The administrator who looks at this account in the customer's place."""

    id: Annotated[UUID, Meta(description="The administrator.", examples=[fields.STAFF])]
    full_name: Annotated[str, Meta(description="The administrator's name.", examples=["Root"])]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The account of the caller."""

    id: Annotated[UUID, Meta(description="The user's id.", examples=[fields.USER])]
    email: Annotated[str, Meta(description="The address that signs in.", examples=[fields.EMAIL])]
    full_name: Annotated[str, Meta(description="The user's name.", examples=["Ada Byron"])]
    company_name: Annotated[str | None, Meta(description="The user's company.", examples=["Analytical Engines Ltd"])]
    locale: Annotated[
        str | None,
        Meta(
            description="Language tag for dates and numbers; null: not chosen; mails are English.", examples=["de-AT"]
        ),
    ]
    time_zone: Annotated[str | None, Meta(description="IANA name; null: not chosen.", examples=["Europe/Vienna"])]
    role: Annotated[Role, Meta(description="What the user is here.", examples=["customer"])]
    permissions: Annotated[
        list[Permission],
        Meta(
            description="What this sign-in may do; of an administrator in a customer's place: what may be read.",
            examples=[["own_account", "own.licenses.read"]],
        ),
    ]
    email_verified: Annotated[bool, Meta(description="Whether the address is confirmed.", examples=[True])]
    second_factor: Annotated[MySecondFactor | None, Meta(description="Null: a password alone signs in.")]
    session: Annotated[
        MySession | None, Meta(description="This sign-in; null in a customer's place: it is the administrator's own.")
    ]
    impersonated_by: Annotated[
        Impersonator | None, Meta(description="Who looks at the account in the customer's place; null: nobody.")
    ]
    created_at: Annotated[datetime, Meta(description="When the account was opened.", examples=["2026-01-05T10:00:00Z"])]

    @classmethod
    def read(cls, row: Record, principal: Principal) -> "Me":
        """From a row of repository.PROFILE."""
        since, actor = row.factor_since, principal.actor_id
        return cls(
            id=row.id,
            email=row.email,
            full_name=row.full_name,
            company_name=row.company_name,
            locale=row.locale,
            time_zone=row.time_zone,
            role=row.role,
            permissions=sorted(permissions_of(principal)),
            email_verified=row.email_verified_at is not None,
            second_factor=None if since is None else MySecondFactor("totp", since),
            session=_session(row, principal),
            impersonated_by=None if actor is None else Impersonator(actor, row.actors_name or ""),
            created_at=row.created_at,
        )


class MyChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An absent field stays as it is; null removes what may be absent."""

    full_name: PersonName | UnsetType = UNSET
    company_name: Annotated[
        PersonName | UnsetType | None,
        Meta(description="The company's name; null removes it, absent leaves it.", examples=["Analytical Engines Ltd"]),
    ] = UNSET
    locale: Locale | UnsetType | None = UNSET
    time_zone: TimeZone | UnsetType | None = UNSET

    def given(self) -> dict[str, str | None]:
        """As it is stored. InvalidInput where there is no such time zone."""
        facts = {name: getattr(self, name) for name in self.__struct_fields__}
        given = {name: value for name, value in facts.items() if value is not UNSET}
        if given.get("locale"):
            given["locale"] = canonical_locale(given["locale"])
        if given.get("time_zone") is not None:
            given["time_zone"] = checked_time_zone(given["time_zone"])
        return given


def _session(row: Record, principal: Principal) -> MySession | None:
    if row.session_began is None:
        return None
    return MySession(principal.session_id, row.session_began, principal.authenticated_at, principal.amr)
