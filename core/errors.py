"""The one tree of refusals. Each leaf has a code for machines, a status for HTTP and a title for people.

Services raise them; each HTTP surface maps them once to `application/problem+json` (RFC 9457). An expected outcome
(a verdict, a declined hold) is a value, not a member of this tree.
"""

from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One thing wrong with one field; `field` is a path such as `items[3].count`."""

    field: str
    detail: str


class Refusal(Exception):
    """A request that is not carried out. `detail` tells its sender what to do about it."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "The request cannot be carried out"

    def __init__(
        self, detail: str = "", *, errors: tuple[FieldError, ...] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = errors
        self.retry_after = retry_after


class InvalidInput(Refusal):
    code, title = "invalid_input", "The request's content is not valid"


class Unauthenticated(Refusal):
    status, code, title = 401, "unauthenticated", "Sign in first"


class InvalidCredentials(Unauthenticated):
    code, title = "invalid_credentials", "E-mail address or password is wrong"


class InvalidSecondFactor(Unauthenticated):
    code, title = "invalid_second_factor", "The code is wrong, or has been used"


class ChallengeOver(Unauthenticated):
    code, title = "challenge_over", "This sign-in took too long or too many tries; begin it again"


class EmailNotVerified(Unauthenticated):
    code, title = "email_not_verified", "Confirm your e-mail address first"


class InvalidSignature(Unauthenticated):
    code, title = "invalid_signature", "The request's signature does not hold"


class PaymentDeclined(Refusal):
    status, code, title = 402, "payment_declined", "The payment did not go through"


class Forbidden(Refusal):
    status, code, title = 403, "forbidden", "This is not yours to do"


class StepUpRequired(Forbidden):
    code, title = "step_up_required", "Sign in again to do this"


class ActivationRefused(Forbidden):
    code, title = "activation_refused", "This licence key and activation token open nothing together"


class SecondFactorRequired(Forbidden):
    code, title = "second_factor_required", "This needs a second factor as well"


class NotFound(Refusal):
    status, code, title = 404, "not_found", "There is no such thing here"


class Conflict(Refusal):
    status, code, title = 409, "conflict", "This cannot be done in the present state"


class IllegalMove(Conflict):
    code, title = "illegal_move", "The licence's state does not allow this"


class BoundElsewhere(Conflict):
    code, title = "bound_elsewhere", "The licence is bound to another panel"


class StillRunning(Conflict):
    code, title = "idempotency_in_progress", "The first request with this Idempotency-Key is still running"


class IdempotencyMismatch(Refusal):
    status, code, title = 422, "idempotency_mismatch", "This Idempotency-Key was used with another body"


class TooManyRequests(Refusal):
    status, code, title = 429, "too_many_requests", "Too many requests"


class Unavailable(Refusal):
    """Cannot tell now: the client may not conclude anything from it."""

    status, code, title = 503, "unavailable", "A part that is needed does not answer; try again"


class PartnerRefused(Refusal):
    """A partner will not do it, and trying again would not help: somebody has to look."""

    status, code, title = 502, "partner_refused", "A partner's service refused the request"


class PartnerUnavailable(Unavailable):
    status, code, title = 502, "partner_unavailable", "A partner's service does not answer; try again"
