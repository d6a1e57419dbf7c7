"""Exceptions that refuse a request, one class for each problem code; core/problems.py has their statuses and titles.

Services raise them; each API maps them once to `application/problem+json` (RFC 9457). An expected result (a verdict, a
reservation that is not granted) is a value, not an exception.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from typing_extensions import override

from core.crypto.signature import SignatureDefect
from core.problems import PROBLEMS, Meaning


class FieldError(msgspec.Struct, frozen=True):
    """One error of one field; `field` is a path such as `items[3].count`.

    `code` and `params` are for programs that tell it in their own words; codes: core/field_errors.py.
    """

    field: Annotated[
        str,
        msgspec.Meta(
            description="Where the error is: a path such as `items[3].count`, or the name of a query parameter.",
            examples=["email"],
        ),
    ]
    detail: Annotated[
        str,
        msgspec.Meta(
            description="What is wrong, for people; read it behind the field's name.", examples=["is missing"]
        ),
    ]
    code: Annotated[
        str,
        msgspec.Meta(
            description=(
                "What is wrong, for programs: missing, unknown, wrong_type, too_short, too_long, "
                "too_small, too_large, not_multiple, not_one_of, bad_format, malformed, repeated or "
                "invalid. A promotion code can be expired, used_up, first_purchase_only or wrong_currency, too."
            ),
            examples=["missing"],
        ),
    ] = "invalid"
    params: Annotated[
        Mapping[str, Any],
        msgspec.Meta(description="What the words of `detail` are made of, such as `min` or `allowed`.", examples=[{}]),
    ] = {}


class Refusal(Exception):
    """A request that is not carried out. `detail` tells the client what to do about it."""

    code: ClassVar[str] = "bad_request"
    meaning: ClassVar[Meaning] = PROBLEMS[code]
    status: ClassVar[int] = meaning.status
    title: ClassVar[str] = meaning.title

    @override
    def __init_subclass__(cls, **more: Any) -> None:
        """Takes status and title from the table, so that a code means the same in every answer."""
        super().__init_subclass__(**more)
        if cls.code not in PROBLEMS:
            raise TypeError(f"{cls.__name__}: core/problems.py has no line for the code {cls.code!r}; add one")
        cls.meaning = PROBLEMS[cls.code]
        cls.status, cls.title = cls.meaning.status, cls.meaning.title

    def __init__(
        self, detail: str = "", *, errors: tuple[FieldError, ...] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.retry_after = retry_after


class InvalidInput(Refusal):
    code = "invalid_input"


class Unauthenticated(Refusal):
    code = "unauthenticated"


class InvalidToken(Unauthenticated):
    """A token came with the request, and it is not valid. RFC 6750 (3.1) has a name for that in the answer's header."""


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"


class InvalidSecondFactor(Unauthenticated):
    code = "invalid_second_factor"


class ChallengeOver(Unauthenticated):
    code = "challenge_over"


class InvalidSignature(Unauthenticated):
    code = "invalid_signature"


class SignatureFault(InvalidSignature):
    """For an `NP-Signature`: the answer says which check failed, and what time it is here."""

    def __init__(self, fault: SignatureDefect) -> None:
        super().__init__(fault.value)
        self.fault = fault


class PaymentDeclined(Refusal):
    code = "payment_declined"


class Forbidden(Refusal):
    code = "forbidden"


class EmailNotVerified(Forbidden):
    code = "email_not_verified"


class InsufficientScope(Forbidden):
    """`scope`: what the token of a program would need for this (RFC 6750, 3.1)."""

    code = "insufficient_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(f"the token lacks the scope {scope}: get one with it from POST oauth/token")
        self.scope = scope


class PermissionMissing(Forbidden):
    code = "permission_missing"


class NetworkNotAllowed(Forbidden):
    """The key is right, and is used from a network that it does not name."""

    code = "network_not_allowed"

    def __init__(self, address: str, what: str) -> None:
        super().__init__(
            f"{what} may not be used from {address}: send the call from one of its networks, or ask an administrator"
            " to add this one"
        )


class StepUpRequired(Forbidden):
    code = "step_up_required"


class ActivationRefused(Forbidden):
    code = "activation_refused"


class SecondFactorRequired(Forbidden):
    code = "second_factor_required"


class NotFound(Refusal):
    code = "not_found"


class RouteNotFound(Refusal):
    code = "route_not_found"


class MethodNotAllowed(Refusal):
    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"use {allowed}")
        self.allowed = allowed


class RequestTimeout(Refusal):
    code = "request_timeout"


class Conflict(Refusal):
    code = "conflict"


class IllegalMove(Conflict):
    code = "illegal_move"


class PaymentDisputed(Conflict):
    code = "payment_disputed"


class FingerprintMismatch(Conflict):
    code = "fingerprint_mismatch"


class PreviewStale(Conflict):
    """`preview`: what the change would cost now, for the answer."""

    code = "preview_stale"

    def __init__(self, detail: str, preview: Mapping[str, Any]) -> None:
        super().__init__(detail)
        self.preview = preview


class PaymentMethodInUse(Conflict):
    code = "payment_method_in_use"


class StillRunning(Conflict):
    code = "idempotency_in_progress"


class LengthRequired(Refusal):
    code = "length_required"


class BodyTooLarge(Refusal):
    code = "body_too_large"


class UnsupportedMediaType(Refusal):
    code = "unsupported_media_type"


class FingerprintRequired(Refusal):
    code = "fingerprint_required"


class Unprocessable(Refusal):
    """The request is well formed, and its values do not fit together, or not this object: see `errors`."""

    code = "unprocessable"


class NameThoseThatEnd(Refusal):
    code = "name_those_that_end"


class TrialUsed(Refusal):
    code = "trial_used"


class IdempotencyMismatch(Refusal):
    code = "idempotency_mismatch"


class TooManyRequests(Refusal):
    code = "too_many_requests"


class Internal(Refusal):
    """An error of ours; the log has it under the answer's request id."""

    code = "internal"


class Unavailable(Refusal):
    """Nobody can tell now: the client must not conclude anything from it."""

    code = "unavailable"


class Busy(Unavailable):
    """All places for this kind of work are taken, or its time limit has passed."""

    code = "busy"


class PartnerRefused(Refusal):
    """A partner refuses, and a retry would not help: an administrator has to look."""

    code = "partner_refused"


class PartnerUnavailable(Unavailable):
    code = "partner_unavailable"
