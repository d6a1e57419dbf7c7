"""Schemas of passwords, password reset and changes of address."""

from typing import Annotated

import msgspec
from msgspec import Meta

from billing_api.identity.credentials import email_address, password_policy
from billing_api.web import fields
from billing_api.web.fields import Email
from core.field_errors import JUDGE

ChosenEmail = Annotated[
    str,
    Meta(
        max_length=1000,
        description=f"An e-mail address of at most {email_address.LONGEST} characters.",
        examples=[fields.EMAIL],
        extra={JUDGE: email_address.fault},
    ),
]
_RULE = f"A password: {password_policy.SHORTEST} to {password_policy.LONGEST} characters, and not easy to guess."
ChosenPassword = Annotated[
    str,
    Meta(
        max_length=1000,
        description=_RULE,
        examples=["nine unlikely words"],
        extra={JUDGE: password_policy.length_fault},
    ),
]

# An impossible password is wrong like any other guess. The bound only keeps oversized input away from the hash.
GivenPassword = Annotated[
    str, Meta(max_length=1000, description="The account's present password.", examples=["correct horse battery staple"])
]

Token = Annotated[fields.LinkToken, Meta(min_length=1, max_length=200)]


class ForgottenPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The address of an account whose password was forgotten."""

    email: ChosenEmail


class ResetAsked(msgspec.Struct, frozen=True):
    """The same for every address, so that the answer does not show who has an account."""

    email: Email
    message: Annotated[str, Meta(description="What to do next, for people.")] = (
        "If this address has an account, a mail with a link is on its way; the link is good for an hour."
    )


class PasswordReset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new password, with the token of the link that was mailed."""

    token: Token
    password: ChosenPassword


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The present password, and the next one."""

    current_password: GivenPassword
    new_password: ChosenPassword


class NewEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next address, with the password as a proof."""

    email: ChosenEmail
    password: GivenPassword


class EmailChangeAsked(msgspec.Struct, frozen=True):
    """The same whether or not the address has an account. Nothing changes until its link is opened."""

    email: Email
    message: Annotated[str, Meta(description="What to do next, for people.")] = (
        "We have sent a mail to this address; follow the link in it within 24 hours."
    )


class LinkToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token of a link that was mailed."""

    token: Token


class EmailChanged(msgspec.Struct, frozen=True):
    """The account's address from now on."""

    email: Email
