"""Every problem that a client can meet, in one table: code, status, title, what it means, and what to do about it.

Both doors (the billing API and the validator) answer by this table, so one code says one thing at each of them. It is
published three times from here: in each problem's `type`, which is `/problems/<code>` (relative: RFC 9457, 3.1.1), as
the text that both doors serve under that address, and as docs/problems.md.

A new code is one line below, and a class in core/errors.py or beside its only user that names the code. A class whose
code has no line is refused when it is defined.

`conclusive`: the refusal is final for this very request; the same bytes sent again are refused again. It follows from
the status: 5xx, 408, 425 and 429 are not, all other 4xx are, and the few exceptions say so in their line.
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

_WAITS: Final = frozenset({408, 425, 429})


class Door(enum.StrEnum):
    """Who answers with a code."""

    API = "billing API"
    VALIDATOR = "validator"
    BOTH = "both"


_API: Final = Door.API
_VALIDATOR: Final = Door.VALIDATOR
_AGAIN: Final = "Try again after `Retry-After`, with jitter."
_MEND: Final = "Mend the request; sending it again changes nothing."
_CLIENT: Final = "Mend the client: it does not speak this protocol."


class Meaning(NamedTuple):
    """`final` overrules what the status says about `conclusive`."""

    code: str
    status: int
    title: str
    when: str
    do: str
    door: Door = Door.BOTH
    final: bool | None = None

    @property
    def conclusive(self) -> bool:
        return self.status < 500 and self.status not in _WAITS if self.final is None else self.final

    @property
    def type(self) -> str:
        """The URI reference that names this kind of problem."""
        return f"{PATH}{self.code}"


PATH: Final = "/problems/"
MEDIA_TYPE: Final = "application/problem+json"

_LINES: Final = (
    Meaning(
        "bad_request",
        400,
        "The request cannot be read",
        "The bytes are no HTTP/1.1, or what they mean is in doubt: a header that may stand once stands twice.",
        _CLIENT,
    ),
    Meaning(
        "invalid_input",
        400,
        "The request's content is not valid",
        "A query name, a field or a value does not fit; `errors` names each place with a `code` and its `params`. "
        "What a route does not know is refused, never ignored.",
        _MEND,
    ),
    Meaning("unauthenticated", 401, "Sign in first", "There is no access token, or it is over.", "Sign in.", _API),
    Meaning(
        "invalid_credentials",
        401,
        "E-mail address or password is wrong",
        "This address and this password open no account together.",
        "Ask the user again; offer to reset the password.",
        _API,
    ),
    Meaning(
        "invalid_second_factor",
        401,
        "The code is wrong, or has been used",
        "The second factor's code does not hold now.",
        "Ask for the next code; look at the phone's clock.",
        _API,
    ),
    Meaning(
        "challenge_over",
        401,
        "This sign-in took too long or too many tries; begin it again",
        "The password was right, but the second step came too late or failed too often.",
        "Begin the sign-in again.",
        _API,
    ),
    Meaning(
        "email_not_verified",
        401,
        "Confirm your e-mail address first",
        "The account waits for the link that was sent to its address.",
        "Send the user to the mail, or ask for another one.",
        _API,
    ),
    Meaning(
        "invalid_signature",
        401,
        "The request's signature does not hold",
        "A signature is missing, malformed or does not fit. Of an `NP-Signature`, `check` says which check failed and "
        "`server_time` tells unix seconds here.",
        "For `too_old` and `in_future` set the clock by `server_time`; for `unknown_key` and `mismatch` see whether "
        "the key was rotated or revoked. Then sign anew.",
    ),
    Meaning(
        "payment_declined",
        402,
        "The payment did not go through",
        "The bank or the card's network refused the charge.",
        "Ask for another card, or for the bank's approval.",
        _API,
    ),
    Meaning("forbidden", 403, "This is not yours to do", "The role or the scopes do not allow it.", "Do not.", _API),
    Meaning(
        "step_up_required",
        403,
        "Sign in again to do this",
        "The sign-in is older than this action allows, or weaker than the account's strongest factor.",
        "POST auth/step-up, then send the request again.",
        _API,
    ),
    Meaning(
        "second_factor_required",
        403,
        "This needs a second factor as well",
        "Staff do this only with a second factor.",
        "Set one up, then POST auth/step-up with its code.",
        _API,
    ),
    Meaning(
        "activation_refused",
        403,
        "This license key and activation token open nothing together",
        "The token is unknown, used or over, or belongs to another license.",
        "Ask the license's owner for another token.",
        _API,
    ),
    Meaning(
        "permission_missing",
        403,
        "The API key may not do this",
        "The API key lacks the permission for this call.",
        "Use a key that has it.",
    ),
    Meaning(
        "not_found",
        404,
        "There is no such thing here",
        "The path is right, but what it names does not exist, or belongs to somebody else.",
        "Look for it in the list it came from.",
        _API,
    ),
    Meaning("route_not_found", 404, "There is no such route here", "There is no such path.", _MEND),
    Meaning(
        "method_not_allowed",
        405,
        "The route does not take this method",
        "The path takes another method: see `Allow`.",
        _MEND,
    ),
    Meaning(
        "request_timeout",
        408,
        "The request took too long to arrive",
        "The request's bytes did not arrive within the time limit.",
        "Connect anew and try again.",
    ),
    Meaning(
        "conflict",
        409,
        "This cannot be done in the present state",
        "The request is valid, and the thing is in a state that does not allow it.",
        "Read the thing again, and decide anew.",
        _API,
    ),
    Meaning(
        "illegal_move",
        409,
        "The license's state does not allow this",
        "The move is none that this state has.",
        "Read the license again, and decide anew.",
        _API,
    ),
    Meaning(
        "fingerprint_mismatch",
        409,
        "The license is bound to another fingerprint",
        "The activation gave another fingerprint than the one that the license is bound to.",
        "Activate from the panel that it is bound to, or let the license's owner reset the binding.",
        _API,
    ),
    Meaning(
        "idempotency_in_progress",
        409,
        "The first request with this Idempotency-Key is still running",
        "Two requests with one key met; the first one has not ended.",
        _AGAIN,
        _API,
        final=False,
    ),
    Meaning(
        "reservation_conflict",
        409,
        "This Idempotency-Key has made a reservation of another content",
        "The key stands for a reservation with another resource, count or time.",
        "Use a new key for a new reservation.",
        _VALIDATOR,
    ),
    Meaning(
        "reservation_ended",
        409,
        "The reservation of this Idempotency-Key or nonce has ended",
        "The reservation made under this `Idempotency-Key`, or by this signed request, was reported, released or ran "
        "out. Nothing is held, and within 330 s nothing will be under the same key.",
        "Use a new key for a new reservation.",
        _VALIDATOR,
    ),
    Meaning(
        "length_required",
        411,
        "Say how long the body is",
        "Neither `Content-Length` nor chunks tell the body's length.",
        _CLIENT,
    ),
    Meaning(
        "body_too_large", 413, "The body is too long", "The limit is 64 KiB at the validator, 1 MB at the API.", _MEND
    ),
    Meaning(
        "unsupported_media_type",
        415,
        "The body must be application/json",
        "The body is not `application/json` in UTF-8.",
        _MEND,
    ),
    Meaning(
        "expectation_failed",
        417,
        "This expectation is not known here",
        "`Expect` says something other than `100-continue`.",
        _CLIENT,
        _VALIDATOR,
    ),
    Meaning(
        "fingerprint_required",
        422,
        "This license is activated with a fingerprint only",
        "The license is bound to a fingerprint, or its policy requires one, and the activation gave none.",
        "Send the panel's `fingerprint`.",
        _API,
    ),
    Meaning(
        "idempotency_mismatch",
        422,
        "This Idempotency-Key was used with another body",
        "The key stands for another request.",
        "Use a new key for a new request.",
        _API,
    ),
    Meaning(
        "too_many_requests",
        429,
        "Too many requests",
        "A limit is reached: `RateLimit` tells which, `detail` of what.",
        "Wait for `Retry-After`. A panel that meets this is in a loop.",
    ),
    Meaning(
        "head_too_large",
        431,
        "The request's head is too long",
        "Request line and headers are longer than 8 KiB.",
        _MEND,
        _VALIDATOR,
    ),
    Meaning(
        "internal",
        500,
        "Something went wrong on our side",
        "The fault is ours, and has been logged under `request_id`.",
        "Try again later, with jitter; if it stays, tell us the `request_id`.",
    ),
    Meaning(
        "transfer_coding_unknown",
        501,
        "This transfer coding is not known here",
        "`Transfer-Encoding` says something other than `chunked`.",
        _CLIENT,
        _VALIDATOR,
    ),
    Meaning(
        "partner_refused",
        502,
        "A partner's service refused the request",
        "Stripe or another partner will not do it; trying again does not help.",
        "Tell us the `request_id`: somebody has to look.",
        _API,
    ),
    Meaning(
        "partner_unavailable",
        502,
        "A partner's service does not answer; try again",
        "Stripe or another partner did not answer in time.",
        _AGAIN,
        _API,
    ),
    Meaning(
        "unavailable",
        503,
        "A part that is needed does not answer; try again",
        "A store does not answer, or nobody can tell now. It may have happened.",
        "Send the same request again after `Retry-After`, with the same `Idempotency-Key`.",
        _API,
    ),
    Meaning(
        "busy",
        503,
        "Too much is under way; try again",
        "All places for this kind of work are taken, or a time limit has passed.",
        "Send the same request again after `Retry-After`, with jitter and the same `Idempotency-Key`.",
        _API,
    ),
    Meaning(
        "not_ready",
        503,
        "License data is being loaded; try again",
        "Redis does not answer, its data is being loaded, or a reservation depends on what has not arrived there yet: "
        "nobody can tell now.",
        "Try again after `Retry-After`, with jitter; meanwhile go by the lease.",
    ),
    Meaning(
        "too_many_connections",
        503,
        "There are too many clients; try again",
        "The process has as many clients as it may have.",
        "Try again after `Retry-After`, with jitter; meanwhile go by the lease.",
        _VALIDATOR,
    ),
    Meaning(
        "version_not_supported",
        505,
        "This version of HTTP is not spoken here",
        "The request speaks another HTTP than 1.1 or 1.0.",
        _CLIENT,
        _VALIDATOR,
    ),
)
"""By status."""

PROBLEMS: Final[Mapping[str, Meaning]] = {line.code: line for line in _LINES}


def page(line: Meaning) -> str:
    """What `/problems/<code>` answers, as plain text."""
    final = "yes: the same request is refused again" if line.conclusive else "no: nothing can be concluded from it"
    return (
        f"{line.code} (HTTP {line.status})\n{line.title}.\n\n"
        f"What it means: {line.when}\nWhat to do: {line.do}\n"
        f"Conclusive: {final}.\nAnswered by: {line.door}.\n"
    )


PAGES: Final[Mapping[str, bytes]] = {code: page(line).encode() for code, line in PROBLEMS.items()}
PAGE_TYPE: Final = "text/plain; charset=utf-8"


def table() -> str:
    """docs/problems.md."""
    rows = [
        f"| {one.status} | `{one.code}` | {'yes' if one.conclusive else 'no'} | {one.door} | {one.when} | {one.do} |"
        for one in _LINES
    ]
    return "\n".join([_HEAD, *rows, ""])


_HEAD: Final = """# Problems: what a refusal means, and what to do about it

Made by `make openapi` from `core/problems.py`. The billing API and the validator answer every refusal as
`application/problem+json` (RFC 9457), with the same members:

| member | what |
|---|---|
| `type` | `/problems/<code>`; both doors serve a text under this address |
| `title`, `status`, `code` | as in the table below; programs go by `code` |
| `detail` | what is wrong here and what to do, for people |
| `request_id` | names this answer in our logs |
| `conclusive` | true: final for this very request, the same bytes are refused again. false: nothing can be concluded |
| `errors` | of `invalid_input`: each field with `field`, `detail`, `code` and `params` |
| `check`, `server_time` | of an `NP-Signature` that does not hold: which check failed, and unix seconds here |

No refusal is a statement about a license: a verdict, be it ever so negative, is HTTP 200. What is not listed here (a
proxy's 502, a timeout, a connection that ends, a status without this body) is to be taken as not conclusive.

| status | code | conclusive | answered by | when | what to do |
|---|---|---|---|---|---|"""
