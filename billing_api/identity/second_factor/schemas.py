"""Schemas of the second factor."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from billing_api.identity.second_factor.rules import CHALLENGE_LIFETIME
from billing_api.web import fields
from core.errors import FieldError, InvalidInput
from core.field_errors import FORM

FactorKind = Literal["totp"]
"""What can be added to a password. Recovery codes come with it and are no kind of their own."""
SIX_DIGITS: Final = "six digits, as the app shows them"
Code = Annotated[fields.Code, Meta(pattern=r"^[0-9]{6}(?![\s\S])", extra={FORM: SIX_DIGITS})]
GivenRecoveryCode = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        description="One of the ten recovery codes, with or without dashes. Send either this or `code`.",
        examples=[None],
    ),
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
    """The second step of a sign-in: the challenge of the first one, with a code or a recovery code."""

    challenge: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="The challenge that `auth/login` answered.",
            examples=["c_5tY8uI0pLz2NcQeR4wXvBm"],
        ),
    ]


class SecondFactorAsked(msgspec.Struct, frozen=True):
    """The password was right; a second factor is needed. Send `challenge` to `auth/mfa` with a code."""

    challenge: Annotated[
        str,
        Meta(
            description="Send it back with the code. It is good for a few tries.", examples=["c_5tY8uI0pLz2NcQeR4wXvBm"]
        ),
    ]
    mfa_required: Annotated[bool, Meta(description="Always true here.", examples=[True])] = True
    expires_in: Annotated[int, Meta(description="For how many seconds the challenge is good.")] = int(
        CHALLENGE_LIFETIME.total_seconds()
    )


class Enrollment(msgspec.Struct, frozen=True):
    """What an authenticator app needs. It is shown this once."""

    otpauth_uri: Annotated[
        str,
        Meta(
            description="For an app on this device.",
            examples=["otpauth://totp/NextPanel:ada%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=NextPanel"],
        ),
    ]
    secret: Annotated[str, Meta(description="For a user who has to type it: base32.", examples=["JBSWY3DPEHPK3PXP"])]
    qr_svg: Annotated[
        str,
        Meta(
            description="`otpauth_uri` as a QR code, an SVG image.",
            examples=['<svg xmlns="http://www.w3.org/2000/svg"></svg>'],
        ),
    ]
    expires_at: Annotated[
        datetime, Meta(description="Until when to confirm it with a code.", examples=["2026-11-22T16:15:00Z"])
    ]


class Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code that shows that the app is set up."""

    code: Code


class RecoveryCodes(msgspec.Struct, frozen=True):
    """Ten recovery codes, shown this once. A new set replaces the old one."""

    recovery_codes: Annotated[
        list[str],
        Meta(
            description="Each works once, in place of the app's code.", examples=[["7KXQ-2M9D-RWTB", "H4PZ-8VNC-3YFA"]]
        ),
    ]


class TotpState(msgspec.Struct, frozen=True):
    """Whether an authenticator app is set up."""

    active: Annotated[bool, Meta(description="True once it was confirmed with a code.", examples=[True])]
    confirmed_at: Annotated[
        datetime | None,
        Meta(description="When it was confirmed; null where it was not.", examples=["2026-11-22T16:00:00Z"]),
    ]


class SecondFactorState(msgspec.Struct, frozen=True):
    """The second factor of the account."""

    totp: Annotated[TotpState, Meta(description="The authenticator app.")]
    recovery_codes_left: Annotated[int, Meta(description="How many recovery codes have not been used.", examples=[9])]
