"""Schemas of the second factor."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from billing_api.identity.second_factor.rules import CHALLENGE_LIFETIME
from core.errors import FieldError, InvalidInput
from core.field_errors import FORM

FactorKind = Literal["totp"]
"""What can be added to a password. Recovery codes come with it and are no kind of their own."""
SIX_DIGITS: Final = "six digits, as the app shows them"
Code = Annotated[str, Meta(pattern=r"^[0-9]{6}(?![\s\S])", description=SIX_DIGITS, extra={FORM: SIX_DIGITS})]
GivenRecoveryCode = Annotated[
    str, Meta(min_length=1, max_length=100, description="one of the ten, with or without dashes")
]


class FactorProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The proof of the second factor: one of the two."""

    code: Code | None = None
    recovery_code: GivenRecoveryCode | None = None

    def check_one(self) -> None:
        if (self.code is None) == (self.recovery_code is None):
            raise InvalidInput(
                "send either the app's code or a recovery code",
                errors=(FieldError("code", "send either this or recovery_code"),),
            )

    @property
    def is_given(self) -> bool:
        return self.code is not None or self.recovery_code is not None


class ChallengeAnswer(FactorProof, frozen=True, forbid_unknown_fields=True, kw_only=True):
    challenge: Annotated[str, Meta(min_length=1, max_length=200)]


class SecondFactorAsked(msgspec.Struct, frozen=True):
    """The password was right. Send `challenge` to `auth/mfa` with a code, within `expires_in` seconds."""

    challenge: str
    mfa_required: bool = True
    expires_in: int = int(CHALLENGE_LIFETIME.total_seconds())


class Enrolment(msgspec.Struct, frozen=True):
    """Shown this once. `qr_svg` is `otpauth_uri` as a QR code; `secret` is for a user who has to type it."""

    otpauth_uri: str
    secret: str
    qr_svg: str
    expires_at: datetime


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Code


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Shown this once. Each code works once; a new set replaces the old one."""

    recovery_codes: list[str]


class TotpState(msgspec.Struct, frozen=True):
    active: bool
    confirmed_at: datetime | None


class SecondFactorState(msgspec.Struct, frozen=True):
    totp: TotpState
    recovery_codes_left: int
