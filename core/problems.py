"""Table of problems (RFC 9457): code, status, title, meaning, and what to do about it.

Both doors (the billing API and the validator) answer by this table, so a code means the same at each of them. It is
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
_MEND: Final = "Correct the request; sending it again changes nothing."
_CLIENT: Final = "Correct the client: it does not follow the protocol."


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
        "The bytes are not HTTP/1.1, or are ambiguous: a header that is allowed once is there twice.",
        _CLIENT,
    ),
    Meaning(
        "invalid_input",
        400,
        "The request's content is not valid",
        "A query name, a field or a value is not valid; `errors` names each with a `code` and its `params`. "
        "Unknown names are refused, never ignored.",
        _MEND,
    ),
    Meaning(
        "unauthenticated",
        401,
        "Sign in first",
        "There is no access token, or it is not valid any more.",
        "A person signs in with POST auth/login, a program with POST oauth/token; then send the token as "
        "`Authorization: Bearer …`.",
        _API,
    ),
    Meaning(
        "invalid_credentials",
        401,
        "E-mail address or password is wrong",
        "No account has this address and this password.",
        "Ask the user again, and offer to reset the password.",
        _API,
    ),
    Meaning(
        "invalid_second_factor",
        401,
        "The code is wrong, or has been used",
        "The second factor's code is not valid now.",
        "Ask for the next code, and check the phone's clock.",
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
        "invalid_signature",
        401,
        "The request's signature does not hold",
        "A signature is missing, malformed or wrong. For an `NP-Signature`, `check` says which check failed, and "
        "`server_time` is the server's time in unix seconds.",
        "For `too_old` and `in_future` set the clock by `server_time`; for `unknown_key` and `mismatch` check whether "
        "the key was rotated or revoked. Then sign again.",
    ),
    Meaning(
        "payment_declined",
        402,
        "The payment did not go through",
        "The bank or the card's network refused the charge.",
        "Ask for another card, or for the bank's approval.",
        _API,
    ),
    Meaning(
        "forbidden",
        403,
        "This is not yours to do",
        "The role does not allow it, or no scope gives a program this right.",
        "Use an account or a client that is allowed to.",
        _API,
    ),
    Meaning(
        "insufficient_scope",
        403,
        "The access token's scopes do not allow this",
        "A program's token lacks the scope that this route asks for; `WWW-Authenticate` names it (RFC 6750).",
        "Get a token with that scope from POST oauth/token. If the client itself lacks it, make another client.",
        _API,
    ),
    Meaning(
        "email_not_verified",
        403,
        "Confirm your e-mail address first",
        "The password is right, and the account waits for the link that was sent to its address.",
        "Tell the user to open that mail. Registering again sends another one.",
        _API,
    ),
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
        "Staff need a second factor for this.",
        "Set one up, then POST auth/step-up with its code.",
        _API,
    ),
    Meaning(
        "activation_refused",
        403,
        "This license key and activation token open nothing together",
        "The token is unknown, used or expired, or belongs to another license.",
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
        "network_not_allowed",
        403,
        "The key may not be used from this network",
        "The key, or the service account, names the networks it may be used from, and the call came from another. "
        "`detail` has the address that we saw.",
        "Call from an allowed network, or have an administrator add this one.",
    ),
    Meaning(
        "not_found",
        404,
        "There is no such thing here",
        "The path is right, but its object does not exist, or belongs to another customer.",
        "Read the list again, and take the id from there.",
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
        "Connect again, and repeat the request.",
    ),
    Meaning(
        "conflict",
        409,
        "This cannot be done in the present state",
        "The request is valid, but the object's state does not allow it.",
        "Read the object again, and decide again.",
        _API,
    ),
    Meaning(
        "preview_stale",
        409,
        "The preview is too old",
        "The `proration_date` is that of a preview which is not valid any more. `preview` is a new one.",
        "Show the new preview, and send the `proration_date` in it.",
        _API,
    ),
    Meaning(
        "payment_method_in_use",
        409,
        "A subscription is charged to this card",
        "It is the customer's last card, and a subscription is still running.",
        "Add another card first, or cancel the subscription.",
        _API,
    ),
    Meaning(
        "illegal_move",
        409,
        "The license's state does not allow this",
        "The license's state has no such transition.",
        "Read the license again, and decide again.",
        _API,
    ),
    Meaning(
        "payment_disputed",
        409,
        "The payment is disputed with the bank",
        "A payment that its bank has taken back, or may take back, cannot be refunded.",
        "Answer the dispute under `admin/disputes`, and refund what is left once it is won.",
        _API,
    ),
    Meaning(
        "fingerprint_mismatch",
        409,
        "The license is bound to another fingerprint",
        "The activation sent another fingerprint than the one the license is bound to.",
        "Activate from the panel it is bound to, or ask the license's owner to reset the binding.",
        _API,
    ),
    Meaning(
        "idempotency_in_progress",
        409,
        "The first request with this Idempotency-Key is still running",
        "Another request with this key has not ended.",
        _AGAIN,
        _API,
        final=False,
    ),
    Meaning(
        "reservation_conflict",
        409,
        "This Idempotency-Key has made a reservation of another content",
        "The key was used for a reservation with another resource, count or time.",
        "Use a new key for a new reservation.",
        _VALIDATOR,
    ),
    Meaning(
        "reservation_ended",
        409,
        "The reservation of this Idempotency-Key or nonce has ended",
        "The reservation made under this `Idempotency-Key`, or by this signed request, was reported, was released "
        "or expired. Nothing is held, and for 330 s nothing can be held under the same key.",
        "Use a new key for a new reservation.",
        _VALIDATOR,
    ),
    Meaning(
        "length_required",
        411,
        "Say how long the body is",
        "There is neither `Content-Length` nor `Transfer-Encoding: chunked`.",
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
        "The license is bound to a fingerprint, or its policy requires one, and the activation sent none.",
        "Send the panel's `fingerprint`.",
        _API,
    ),
    Meaning(
        "idempotency_mismatch",
        422,
        "This Idempotency-Key was used with another body",
        "The key was used for another request.",
        "Use a new key for a new request.",
        _API,
    ),
    Meaning(
        "name_those_that_end",
        422,
        "Name the licenses that end",
        "A subscription is to pay for fewer licenses, and `end_license_ids` names not exactly as many of its own.",
        "Send `end_license_ids` with as many licenses of the subscription as it is to pay for no longer.",
        _API,
    ),
    Meaning(
        "trial_used",
        422,
        "A trial is given once",
        "You, or somebody with the same card, have had a trial.",
        "Order without a trial.",
        _API,
    ),
    Meaning(
        "unprocessable",
        422,
        "The values cannot be carried out",
        "The request is well formed, but its values do not fit together, or not this object: `errors` says which.",
        "Correct the fields that `errors` names.",
        _API,
    ),
    Meaning(
        "too_many_requests",
        429,
        "Too many requests",
        "A limit is reached: `RateLimit` says which, `detail` of what.",
        "Wait for `Retry-After`. If a panel meets this, look for a loop in it.",
    ),
    Meaning(
        "head_too_large",
        431,
        "The request's head is too long",
        "Request line and headers together are longer than 8 KiB.",
        _MEND,
        _VALIDATOR,
    ),
    Meaning(
        "internal",
        500,
        "Something went wrong on our side",
        "The fault is ours, and is logged under `request_id`.",
        "Try again later, with jitter; if it happens again, send us the `request_id`.",
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
        "Stripe or another partner refuses it; trying again does not help.",
        "Send us the `request_id`, so that we can look into it.",
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
        "A store does not answer. The request may have taken effect.",
        "Send the same request again after `Retry-After`, with the same `Idempotency-Key`.",
        _API,
    ),
    Meaning(
        "busy",
        503,
        "Too much is under way; try again",
        "Too many requests of this kind are running, or a time limit has passed. At the validator: so many licenses "
        "are being read, as after a restart, that this one would wait for more than 200 ms.",
        "Send the same request again after `Retry-After`, with jitter and the same `Idempotency-Key`.",
    ),
    Meaning(
        "not_ready",
        503,
        "License data is being loaded; try again",
        "Redis does not answer, its data is being loaded, or a reservation depends on a change that has not arrived "
        "there yet. Nothing can be said now.",
        "Try again after `Retry-After`, with jitter; until then, use the lease.",
    ),
    Meaning(
        "too_many_connections",
        503,
        "There are too many clients; try again",
        "The process serves as many clients as it is allowed to.",
        "Try again after `Retry-After`, with jitter; until then, use the lease.",
        _VALIDATOR,
    ),
    Meaning(
        "version_not_supported",
        505,
        "This version of HTTP is not spoken here",
        "The request's version of HTTP is neither 1.1 nor 1.0.",
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

You want to know what a `code` means, and what a client or a person should do about it.

Made by `make openapi` from `core/problems.py`. The billing API and the validator answer every refusal as
`application/problem+json` (RFC 9457), with the same members:

| member | what |
|---|---|
| `type` | `/problems/<code>`; both doors serve a text under this address |
| `title`, `status`, `code` | as in the table below; programs decide by `code` |
| `detail` | what is wrong here and what to do, for people |
| `request_id` | id of this answer in our logs |
| `conclusive` | true: final for this very request, the same bytes are refused again. false: nothing can be concluded |
| `errors` | for `invalid_input`: each field with `field`, `detail`, `code` and `params` |
| `check`, `server_time` | for an invalid `NP-Signature`: which check failed, and the server's time in unix seconds |

No refusal says anything about a license: a verdict, also a negative one, is HTTP 200. Treat anything that is not listed
here (a proxy's 502, a timeout, a closed connection, a status without this body) as not conclusive.

| status | code | conclusive | answered by | when | what to do |
|---|---|---|---|---|---|"""
