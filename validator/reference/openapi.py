"""OpenAPI 3.1 document of the validator, made from the structs that read and write its calls.

`make openapi` writes it and the table of errors, by `python -m validator.reference.openapi docs`. Tests compare both
files with this code, and the answers of a running validator with the document.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from core import problems
from core.crypto.signature import HEADER, SignatureDefect
from core.errors import MethodNotAllowed, PermissionMissing, Refusal, SignatureFault
from core.licensing.record import Permission
from core.problem_document import Problem, example_of, problem_of
from core.problems import Meaning
from core.rate_limit import Allowance, RateLimit
from validator.calls import wire
from validator.http.problems import ReservationConflict
from validator.http.rate_limit_headers import LimitReached
from validator.reference import advice
from validator.reference.open_routes import open_paths

_REF: Final = "#/components/schemas/{name}"
_KEY: Final = "NP-7Q2M-XK4D-9RWT"
_REQUEST_ID: Final = "5f0c9a1be3d7000000a4"
_AS_OF: Final = "2026-11-22T16:00:00.123Z"
_HOLD: Final = "0b9f3c51d2a84e6f97c1d05be83a7246"
_LEASE: Final = "eyJhbGciOiJFZERTQSIsImtpZCI6ImwxIn0.eyJpc3MiOiJuZXh0cGFuZWwtYmlsbGluZyJ9.c2lnbmF0dXJl"


class Call(NamedTuple):
    name: str
    summary: str
    permission: Permission
    ask: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    example: Mapping[str, Any]
    """A request's body."""
    told: Mapping[str, Any]
    """The answer to it."""


_VERDICT: Final = {
    "valid": True,
    "remaining_quota": 43,
    "code": "VALID",
    "as_of": _AS_OF,
    "stale": False,
    "request_id": _REQUEST_ID,
}
_QUESTION: Final = {"license_key": _KEY, "feature": "create_database"}

CALLS: Final = (
    Call(
        "validate-license", "May a license use a feature now?", "validate", wire.Ask, wire.Verdict, _QUESTION, _VERDICT
    ),
    Call(
        "validate-licenses",
        "The same for up to 100 questions, answered in their order, all or none",
        "validate",
        wire.AskMany,
        wire.Verdicts,
        {"items": [_QUESTION, {"license_key": _KEY, "feature": "backups"}]},
        {"items": [_VERDICT, _VERDICT | {"remaining_quota": None}]},
    ),
    Call(
        "explain",
        "The verdict with every rule and the values it saw",
        "validate",
        wire.Ask,
        wire.Explanation,
        _QUESTION,
        _VERDICT
        | {
            "rules": [
                {"code": "NOT_FOUND", "applies": False, "saw": {"known": True}},
                {
                    "code": "EXPIRED",
                    "applies": False,
                    "saw": {"now": _AS_OF, "valid_until": "2026-12-01T00:00:00.000Z", "grace_until": None},
                },
                {"code": "VALID", "applies": True, "saw": {}},
            ],
            "license_id": "019aa9c2-77b1-7c44-a1ce-2b6a6f6f0c11",
            "epoch": 1,
            "version": 3,
            "age_seconds": 0.081,
        },
    ),
    Call(
        "reserve",
        "Reserve some of a resource while it is being created, so that no two panels take the last one",
        "reserve",
        wire.AskReservation,
        wire.Reservation,
        {"license_key": _KEY, "resource": "databases", "count": 1, "ttl": 30},
        {
            "granted": True,
            "reservation_id": _HOLD,
            "remaining_quota": 42,
            "code": "VALID",
            "stale": False,
            "request_id": _REQUEST_ID,
        },
    ),
    Call(
        "release",
        "Give back a reservation that will not be used",
        "reserve",
        wire.AskRelease,
        wire.Release,
        {"license_key": _KEY, "reservation_id": _HOLD},
        {"released": True, "code": "RELEASED", "request_id": _REQUEST_ID},
    ),
    Call(
        "lease",
        "A signed statement of a license, for times without a connection",
        "lease",
        wire.AskLease,
        wire.Lease,
        {"license_key": _KEY},
        {"lease": _LEASE, "not_after": "2026-11-23T16:00:00.000Z", "code": "VALID", "request_id": _REQUEST_ID},
    ),
)

_EXAMPLES: Final[Mapping[str, Refusal]] = {
    refusal.code: refusal
    for refusal in (
        SignatureFault(SignatureDefect.TOO_OLD),
        PermissionMissing("the API key lacks the permission `reserve`"),
        MethodNotAllowed("POST"),
        LimitReached(
            "a license may make 6000 requests a second: wait for Retry-After",
            Allowance(allowed=False, remaining=0, wait=0.1),
            RateLimit(6000),
            "license",
        ),
    )
}
"""Examples of refusals that need more than their code."""


@cache
def document() -> bytes:
    return msgspec.json.format(msgspec.json.encode(_document()), indent=2) + b"\n"


def _document() -> dict[str, Any]:
    types = [kind for call in CALLS for kind in (call.ask, call.answer)]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NextPanel validator",
            "version": "1",
            "description": "Signed questions of NextPanel's servers. Every verdict is HTTP 200, yes or no; "
            "anything else is a problem and says nothing about the license. What to do about each: "
            "docs/validator-errors.md.",
        },
        "security": [{HEADER: []}],
        "paths": {f"/api/v1/nextpanel/{call.name}": {"post": _operation(call)} for call in CALLS} | open_paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {HEADER: _SIGNATURE},
            "responses": _problems(),
        },
    }


_SIGNATURE: Final = {
    "type": "apiKey",
    "in": "header",
    "name": HEADER,
    "description": "`k=<key id>,t=<unix seconds>,n=<32 hex digits>,v1=<64 hex digits>`, where v1 is "
    'HMAC-SHA256(secret, "NPv1" LF method LF path?query LF t LF n LF Idempotency-Key or nothing LF '
    "hex(SHA-256(body))). `t` may be 300 s old. Vectors to test a client with: docs/signature-vectors.json.",
}

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Signed. A repeated key finds its reservation again; without a key, the signature's nonce counts.",
}


def _operation(call: Call) -> dict[str, Any]:
    return {
        "operationId": call.name.replace("-", "_"),
        "summary": call.summary,
        "description": f"The API key needs the permission `{call.permission}`.",
        "parameters": [_IDEMPOTENCY_KEY] if call.name == "reserve" else [],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _of(call.ask), "example": call.example}},
        },
        "responses": {
            "200": {
                "description": "The answer, yes or no",
                "headers": _RATE_LIMIT,
                "content": {"application/json": {"schema": _of(call.answer), "example": call.told}},
            },
            **{
                str(status): {"$ref": f"#/components/responses/{status}"}
                for status in sorted({one.status for one in advice.PROBLEMS})
                if status != ReservationConflict.status or call.name == "reserve"
            },
        },
    }


_RATE_LIMIT: Final = {
    name: {"schema": {"type": "string"}, "description": "Only for keys that are bound to a license."}
    for name in ("RateLimit", "RateLimit-Policy")
}


def _of(kind: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _problems() -> dict[str, Any]:
    """A response for each status, with an example of each code that has it."""
    by_status: dict[int, list[Meaning]] = {}
    for one in advice.PROBLEMS:
        by_status.setdefault(one.status, []).append(one)
    return {str(status): _problem(several) for status, several in sorted(by_status.items())}


def _problem(several: Sequence[Meaning]) -> dict[str, Any]:
    examples = {
        one.code: {
            "summary": f"{one.when} {one.do}",
            "value": _example(one),
        }
        for one in several
    }
    return {
        "description": "; ".join(one.title for one in several),
        "content": {"application/problem+json": {"schema": _of(Problem), "examples": examples}},
    }


def _example(meaning: Meaning) -> Problem:
    refusal = _EXAMPLES.get(meaning.code)
    if refusal is None:
        return example_of(meaning, _REQUEST_ID)
    return problem_of(refusal, _REQUEST_ID, 1_795_363_200)


def main(folder: Path) -> None:
    (folder / "validator-openapi.json").write_bytes(document())
    (folder / "validator-errors.md").write_text(advice.table(), encoding="utf-8")
    (folder / "problems.md").write_text(problems.table(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
