"""Accounts on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from billing_api.identity.credentials.schemas import ChosenEmail, ChosenPassword, GivenPassword
from billing_api.web.parameters import PersonName
from db.models.identity import Role, User

# An impossible address is refused at registration, with a reason. At sign-in it is wrong like any other guess, so that
# the answer shows nothing; this bound only stops oversized input.
GivenEmail = Annotated[str, Meta(max_length=1000)]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: ChosenEmail
    password: ChosenPassword
    full_name: PersonName
    company_name: PersonName | None = None


class Registered(msgspec.Struct, frozen=True):
    """The same for every address, so that the answer does not show who has an account."""

    email: str
    message: str = "We have sent a mail to this address; follow the link in it to go on."


class EmailProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1, max_length=200)]


class EmailVerified(msgspec.Struct, frozen=True):
    email: str
    email_verified: bool = True


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: GivenEmail
    password: GivenPassword


class Me(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    email: str
    full_name: str
    company_name: str | None
    role: Role
    email_verified: bool
    created_at: datetime

    @classmethod
    def of(cls, user: User) -> "Me":
        return cls(
            id=user.id,
            email=user.email,
            full_name=user.full_name,
            company_name=user.company_name,
            role=user.role,
            email_verified=user.email_verified_at is not None,
            created_at=user.created_at,
        )


class MyChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An absent field stays as it is; `company_name: null` removes the company."""

    full_name: PersonName | UnsetType = UNSET
    company_name: PersonName | UnsetType | None = UNSET

    def given(self) -> dict[str, str | None]:
        facts = {"full_name": self.full_name, "company_name": self.company_name}
        return {name: value for name, value in facts.items() if value is not UNSET}
