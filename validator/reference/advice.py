"""Advice to clients: what to do about each verdict's code, and which problems the validator can answer instead.

docs/validator-errors.md and the OpenAPI document are written from here; the meaning of each problem is in the table of
core/problems.py. A test walks every refusal that the validator can answer with and finds it here.
"""

from collections.abc import Mapping
from typing import Final

from core.licensing.verdict import STANDS, Code
from core.problems import PROBLEMS as ALL
from core.problems import Door, Meaning

VERDICTS: Final[Mapping[Code, str]] = {
    Code.NOT_FOUND: "No such license, or this API key is bound to another. Ask the customer for the key again.",
    Code.SUSPENDED: "Refuse. A payment is missing, or an administrator has acted: send the customer to the portal.",
    Code.CANCELLED: "Refuse. The license has ended for good; only a new one helps.",
    Code.EXPIRED: "Refuse. Renewing brings it back: send the customer to the portal.",
    Code.NOT_YET_VALID: "Refuse until its term begins; `explain` says when.",
    Code.FINGERPRINT_REQUIRED: "Send the panel's `fingerprint` with the question.",
    Code.FINGERPRINT_MISMATCH: "Refuse. The license is bound to another panel; its owner can reset it.",
    Code.FEATURE_NOT_INCLUDED: "Refuse this feature alone. A larger plan may include it.",
    Code.QUOTA_EXCEEDED: "Refuse this action alone. Deleting one, or a larger plan, makes room for it.",
    Code.GRACE: "Allow, and tell the customer that a payment is overdue.",
    Code.VALID: "Allow.",
}
"""In the order of the rules; the first that applies is told."""

PROBLEMS: Final[tuple[Meaning, ...]] = tuple(line for line in ALL.values() if line.door is not Door.API)
"""By status."""


def table() -> str:
    """docs/validator-errors.md."""
    verdicts = [f"| `{code}` | {'yes' if code in STANDS else 'no'} | {do} |" for code, do in VERDICTS.items()]
    rows = [f"| {one.status} | `{one.code}` | {one.when} | {one.do} |" for one in PROBLEMS]
    return "\n".join([_HEAD, *verdicts, _BETWEEN, *rows, ""])


_HEAD: Final = """# The validator's answers, and what to do about them

You want to know what your panel should do about a verdict, or about anything else that the validator answered.

Made by `make openapi` from `validator/reference/advice.py` and `core/problems.py`. The calls themselves, with schemas
and examples: [validator-openapi.json](validator-openapi.json), which a running validator serves at
`/schema/openapi.json`.

## Verdicts

A verdict is HTTP 200 and conclusive: act on it. If several codes apply, the answer has the first of this list. With
`"stale": true` it was true as of `as_of`, and nothing newer is available; act on it all the same. An unknown license
or API key is never answered as stale: where it is not certain, the answer is 503.

| code | valid | what to do |
|---|---|---|"""

_BETWEEN: Final = """
## Problems

Everything else is `application/problem+json` (RFC 9457): **it says nothing about the license**, so a panel goes on with
what it knows, if possible with its lease. With `"conclusive": true` the same request is refused again; with `false` it
may succeed. Treat anything that is not listed here (a proxy's 502, a timeout, a closed connection, a status without
this body) as not conclusive. The same codes mean the same at the billing API: [problems.md](problems.md).

| status | code | when | what to do |
|---|---|---|---|"""
