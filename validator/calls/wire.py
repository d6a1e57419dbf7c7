"""Wire format: the bodies of requests and answers. Unknown fields, wrong types and endless strings are refused.

The OpenAPI document is made from these structs (validator.reference.openapi), docstrings and descriptions included.
Verdicts are here for that alone: they are assembled as bytes (validator.http.answers), and a test compares the bytes
with the structs.
"""

from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from core.field_errors import BAD_JSON, invalid_body
from core.licensing.plan import Resource
from core.licensing.verdict import Code

MOST_ITEMS: Final = 100
LONGEST_TTL: Final = 60

LicenseKey = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="Any case, dashes, spaces, invisible characters and look-alike letters are accepted.",
    ),
]
Feature = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="`create_account`, `create_domain`, `create_database` and `create_email` use up a resource; any "
        "other is a plain flag of the license.",
    ),
]
Fingerprint = Annotated[
    str, msgspec.Meta(min_length=1, max_length=256, description="The panel that asks, for licenses bound to one.")
]
Nonce = Annotated[
    str, msgspec.Meta(max_length=128, description="Makes two equal questions different; it has no other meaning.")
]
Remaining = Annotated[
    int | None,
    msgspec.Meta(description="Before the requested action. Null where nothing is counted; every refusal says 0."),
]
Left = Annotated[int | None, msgspec.Meta(description="After this reservation, granted or not. Null: unlimited.")]
AsOf = Annotated[str | None, msgspec.Meta(description="RFC 3339: all changes committed up to then are in this answer.")]
Stale = Annotated[
    bool, msgspec.Meta(description="True where nothing newer than `as_of` is available: act on it all the same.")
]
ReleaseCode = Literal["RELEASED", "PINNED", "GONE", "NOT_FOUND"]
RequestId = Annotated[str, msgspec.Meta(description="The name of this answer in our logs.")]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a license may use a feature now, and how many are left."""

    license_key: LicenseKey
    feature: Feature
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class AskMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 100 questions, answered in the same order, all or none."""

    items: Annotated[list[Ask], msgspec.Meta(min_length=1, max_length=MOST_ITEMS, description="The questions.")]


class AskReservation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold `count` of a resource for `ttl` seconds, while it is being created."""

    license_key: LicenseKey
    resource: Annotated[Resource, msgspec.Meta(description="What is about to be created.")]
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000, description="How many; GB for storage_gb.")]
    ttl: Annotated[
        int, msgspec.Meta(ge=1, le=LONGEST_TTL, description="For how many seconds it is held, if no report uses it up.")
    ]
    fingerprint: Fingerprint | None = None


class AskRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give back a reservation that will not be used."""

    license_key: LicenseKey
    reservation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="As `reserve` answered it.")]


class AskLease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ask for a lease: a signed statement of the license, for times without a connection."""

    license_key: LicenseKey
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`valid` is true for VALID and GRACE. If several codes apply, the first in the table is told."""

    valid: Annotated[bool, msgspec.Meta(description="Whether the license may use the feature now.")]
    remaining_quota: Remaining
    code: Code
    as_of: AsOf
    stale: Stale
    request_id: RequestId


class Verdicts(msgspec.Struct, frozen=True):
    """An answer to each question, in the order of the questions."""

    items: Annotated[list[Verdict], msgspec.Meta(description="The verdicts.")]


class Reservation(msgspec.Struct, frozen=True):
    """`code` is VALID or GRACE where it is granted; otherwise it says why not."""

    granted: Annotated[bool, msgspec.Meta(description="Whether `count` is held now.")]
    reservation_id: Annotated[
        str | None,
        msgspec.Meta(description="Send it with the usage report, or to `release`; null where nothing is held."),
    ]
    remaining_quota: Left
    code: Code
    stale: Stale
    request_id: RequestId


class Release(msgspec.Struct, frozen=True):
    """PINNED: its usage report is being recorded, so it is used. GONE: it ran out, or was given back before."""

    released: Annotated[bool, msgspec.Meta(description="Whether the hold has ended by this call.")]
    code: Annotated[ReleaseCode, msgspec.Meta(description="What was found.")]
    request_id: RequestId


class Lease(msgspec.Struct, frozen=True):
    """`lease` is a JWS (EdDSA); null where the license is not usable, and `code` says why."""

    lease: Annotated[
        str | None, msgspec.Meta(description="The signed statement, a JWS; null where the license is not usable.")
    ]
    not_after: Annotated[
        str | None, msgspec.Meta(description="RFC 3339: until when the lease is good; null where there is none.")
    ]
    code: Code
    request_id: RequestId


class Rule(msgspec.Struct, frozen=True):
    """One rule of the verdict."""

    code: Code
    applies: Annotated[bool, msgspec.Meta(description="Whether it gives the verdict, were it the first that does.")]
    saw: Annotated[
        dict[str, Any], msgspec.Meta(description="The values that the rule looked at; instants as in RFC 3339.")
    ]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with every rule in order; the first that applies gives the verdict."""

    valid: Annotated[bool, msgspec.Meta(description="Whether the license may use the feature now.")]
    remaining_quota: Remaining
    code: Code
    rules: Annotated[list[Rule], msgspec.Meta(description="Every rule, in their order.")]
    license_id: Annotated[
        str | None,
        msgspec.Meta(description="The license's id at the billing API; null where there is no such license."),
    ]
    epoch: Annotated[
        int | None,
        msgspec.Meta(description="Rises with each restore of the database; null where there is no such license."),
    ]
    version: Annotated[
        int | None,
        msgspec.Meta(description="Rises with each change of the license; null where there is no such license."),
    ]
    as_of: AsOf
    age_seconds: Annotated[float, msgspec.Meta(description="How old the data of this license may be.")]
    stale: Stale
    request_id: RequestId


T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except BAD_JSON as fault:
        raise invalid_body(fault, body, decoder.type) from fault
