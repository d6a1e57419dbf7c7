"""What a client should do about each answer: the verdicts' codes, and the problems that stand in a verdict's place.

docs/validator-errors.md and the OpenAPI document are written from these two tables. A test walks every refusal that the
validator can answer with and finds it here, so a new one cannot be forgotten.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from core.errors import InvalidInput, Refusal
from core.hotstore.functions import NotReady
from core.licensing.verdict import STANDS, Code
from validator import problems

VERDICTS: Final[Mapping[Code, str]] = {
    Code.NOT_FOUND: "There is no such license, or this API key is bound to another. Ask for the key again.",
    Code.SUSPENDED: "Refuse. A payment is missing, or an administrator has acted: send the customer to the portal.",
    Code.CANCELLED: "Refuse. The license has ended for good; only a new one helps.",
    Code.EXPIRED: "Refuse. Renewing brings it back: send the customer to the portal.",
    Code.NOT_YET_VALID: "Refuse until its term begins; `explain` says when.",
    Code.FINGERPRINT_REQUIRED: "Send the panel's `fingerprint` with the question.",
    Code.FINGERPRINT_MISMATCH: "Refuse. The license is bound to another panel; its owner can reset it.",
    Code.FEATURE_NOT_INCLUDED: "Refuse this feature alone. A larger plan may include it.",
    Code.QUOTA_EXCEEDED: "Refuse this action alone. Deleting one, or a larger plan, makes room.",
    Code.GRACE: "Allow, and tell the customer that a payment is overdue.",
    Code.VALID: "Allow.",
}
"""In the order of the rules; the first that applies is told."""


class Advice(NamedTuple):
    refusal: type[Refusal]
    when: str
    do: str


_AGAIN: Final = "Try again after `Retry-After`, with jitter; meanwhile go by the lease."
_MEND: Final = "Mend the request; sending it again changes nothing."
_CLIENT: Final = "Mend the client: it does not speak this protocol."

PROBLEMS: Final[tuple[Advice, ...]] = (
    Advice(problems.Unreadable, "The bytes are no HTTP/1.1, or what they mean is in doubt.", _CLIENT),
    Advice(InvalidInput, "The body is not as the schema says: `detail` names the place.", _MEND),
    Advice(
        problems.SignatureFault,
        "The signature does not hold: `check` says which check failed.",
        "For `too_old` and `in_future` set the clock by `server_time`; for `unknown_key` and `mismatch` see whether "
        "the key was rotated or revoked. Then sign anew.",
    ),
    Advice(problems.PermissionMissing, "The API key lacks the permission for this call.", "Use a key that has it."),
    Advice(problems.RouteNotFound, "There is no such path.", _MEND),
    Advice(problems.MethodNotAllowed, "The path takes another method: see `Allow`.", _MEND),
    Advice(problems.RequestTimeout, "The request took more than 10 s to arrive.", "Connect anew and try again."),
    Advice(
        problems.ReservationConflict,
        "This `Idempotency-Key` has made a reservation of another content.",
        "Use a new key for a new reservation.",
    ),
    Advice(
        problems.ReservationEnded,
        "The reservation made under this `Idempotency-Key`, or by this signed request, was reported, released or ran "
        "out. `conclusive` is true: nothing is held, and within 330 s nothing will be under the same key.",
        "Use a new key for a new reservation.",
    ),
    Advice(problems.LengthRequired, "Neither `Content-Length` nor chunks tell the body's length.", _CLIENT),
    Advice(problems.BodyTooLarge, "The body is longer than 64 KiB.", _MEND),
    Advice(problems.UnsupportedMediaType, "The body is not `application/json` in UTF-8.", _MEND),
    Advice(problems.ExpectationFailed, "`Expect` says something other than `100-continue`.", _CLIENT),
    Advice(
        problems.LimitReached,
        "The license's own key asks more often than it may: see `RateLimit`.",
        "Wait for `Retry-After`. A panel that meets this is in a loop.",
    ),
    Advice(problems.HeadTooLarge, "Request line and headers are longer than 8 KiB.", _MEND),
    Advice(
        problems.Crashed, "The fault is ours, and has been logged under `request_id`.", "Try again later, with jitter."
    ),
    Advice(problems.TransferCodingUnknown, "`Transfer-Encoding` says something other than `chunked`.", _CLIENT),
    Advice(
        NotReady,
        "Redis does not answer, its data is being loaded, or a reservation depends on what has not arrived there yet:"
        " nobody can tell now.",
        _AGAIN,
    ),
    Advice(problems.TooManyConnections, "The process has as many clients as it may have.", _AGAIN),
    Advice(problems.VersionNotSupported, "The request speaks another HTTP than 1.1 or 1.0.", _CLIENT),
)
"""By status."""


def table() -> str:
    """docs/validator-errors.md."""
    verdicts = [f"| `{code}` | {'yes' if code in STANDS else 'no'} | {do} |" for code, do in VERDICTS.items()]
    rows = [f"| {one.refusal.status} | `{one.refusal.code}` | {one.when} | {one.do} |" for one in PROBLEMS]
    return "\n".join([_HEAD, *verdicts, _BETWEEN, *rows, ""])


_HEAD: Final = """# The validator's answers, and what to do about them

Made by `make openapi` from `validator/advice.py`. The calls themselves, with schemas and examples:
[validator-openapi.json](validator-openapi.json), which a running validator serves at `/schema/openapi.json`.

## Verdicts

A verdict is HTTP 200 and conclusive: act on it. Of the codes that apply, the one that stands first here is told. With
`"stale": true` it was true some minutes ago at most, and Redis cannot be asked for more now; act on it all the same.

| code | valid | what to do |
|---|---|---|"""

_BETWEEN: Final = """
## Problems

Everything else is `application/problem+json` (RFC 9457) with `"conclusive": false`: **it says nothing about the
license**, so a panel goes on by what it knew, at best by its lease. Only `reservation_ended` is conclusive. What is
not listed here (a proxy's 502, a timeout, a connection that ends) is to be taken in the same way, as is a status
without this body.

| status | code | when | what to do |
|---|---|---|---|"""
