"""Schemas of passwords, password reset and changes of address."""

from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.identity.credentials import email_address, password_policy
from core.field_errors import JUDGE

ChosenEmail = Annotated[
    str,
    Meta(
        max_length=1000,
        description=f"at most {email_address.LONGEST} characters",
        extra={JUDGE: email_address.fault},
    ),
]
_RULE = f"{password_policy.SHORTEST} to {password_policy.LONGEST} characters, and not easy to guess"
ChosenPassword = Annotated[str, Meta(max_length=1000, description=_RULE, extra={JUDGE: password_policy.length_fault})]

# An impossible password is wrong like any other guess. The bound only keeps oversized input away from the hash.
GivenPassword = Annotated[str, Meta(max_length=1000)]

Token = Annotated[str, Meta(min_length=1, max_length=200)]


class ForgottenPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: ChosenEmail


class ResetAsked(msgspec.Struct, frozen=True):
    """The same for every address, so that the answer does not show who has an account."""

    email: str
    message: str = "If this address has an account, a mail with a link is on its way; the link is good for an hour."


class PasswordReset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Token
    password: ChosenPassword


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current_password: GivenPassword
    new_password: ChosenPassword


class NewEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: ChosenEmail
    password: GivenPassword


class EmailChangeAsked(msgspec.Struct, frozen=True):
    """The same whether or not the address has an account. Nothing changes until its link is opened."""

    email: str
    message: str = "We have sent a mail to this address; follow the link in it within 24 hours."


class LinkToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Token


class EmailChanged(msgspec.Struct, frozen=True):
    email: str
