"""Bodies of requests and answers. Unknown fields, wrong types and endless strings are refused at this door.

The OpenAPI document is made of these structs (validator.reference.openapi), docstrings and descriptions included.
Verdicts are here for that alone: they are put together as bytes (validator.http.answers), and a test holds the bytes to
the structs.
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
        description="Case, dashes of any kind, spaces, invisible characters and look-alike letters are forgiven.",
    ),
]
Feature = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=64,
        description="`create_account`, `create_domain`, `create_database` and `create_email` draw on a resource; any "
        "other is a plain flag of the license.",
    ),
]
Fingerprint = Annotated[
    str, msgspec.Meta(min_length=1, max_length=256, description="Which panel asks, for licenses bound to one.")
]
Nonce = Annotated[
    str, msgspec.Meta(max_length=128, description="Makes two equal questions differ; it has no other meaning.")
]
Remaining = Annotated[
    int | None,
    msgspec.Meta(description="Before the asked action. Null where nothing is counted; every refusal says 0."),
]
Left = Annotated[int | None, msgspec.Meta(description="After this reservation, be it granted or not. Null: unlimited.")]
AsOf = Annotated[str | None, msgspec.Meta(description="RFC 3339: every change committed up to then is in this answer.")]
Stale = Annotated[
    bool, msgspec.Meta(description="True where nothing newer than `as_of` can be had: act on it all the same.")
]
ReleaseCode = Literal["RELEASED", "PINNED", "GONE", "NOT_FOUND"]
RequestId = Annotated[str, msgspec.Meta(description="Names this answer in our logs.")]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether a license may use a feature now, and how many are left."""

    license_key: LicenseKey
    feature: Feature
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class AskMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Answered in the same order, all or none."""

    items: Annotated[list[Ask], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class AskReservation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold `count` of a resource for `ttl` seconds, while it is being created."""

    license_key: LicenseKey
    resource: Resource
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    ttl: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_TTL)]
    fingerprint: Fingerprint | None = None


class AskRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a reservation back that will not be used."""

    license_key: LicenseKey
    reservation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class AskLease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed statement of how the license stands, for times without a connection."""

    license_key: LicenseKey
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class Verdict(msgspec.Struct, frozen=True):
    """`valid` is true for VALID and GRACE. Of the codes that apply, the one that stands first in the table is told."""

    valid: bool
    remaining_quota: Remaining
    code: Code
    as_of: AsOf
    stale: Stale
    request_id: RequestId


class Verdicts(msgspec.Struct, frozen=True):
    items: list[Verdict]


class Reservation(msgspec.Struct, frozen=True):
    """`code` says why where it is not granted; VALID or GRACE where it is."""

    granted: bool
    reservation_id: str | None
    remaining_quota: Left
    code: Code
    stale: Stale
    request_id: RequestId


class Release(msgspec.Struct, frozen=True):
    """PINNED: its usage report is being recorded, so it is used. GONE: it has run out, or was given back before."""

    released: bool
    code: ReleaseCode
    request_id: RequestId


class Lease(msgspec.Struct, frozen=True):
    """`lease` is a JWS (EdDSA); null where the license does not stand, and `code` says why."""

    lease: str | None
    not_after: str | None
    code: Code
    request_id: RequestId


class Rule(msgspec.Struct, frozen=True):
    code: Code
    applies: bool
    saw: Annotated[dict[str, Any], msgspec.Meta(description="The values that the rule looked at.")]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict with every rule in its order; the first that applies is the verdict's."""

    valid: bool
    remaining_quota: Remaining
    code: Code
    rules: list[Rule]
    license_id: str | None
    epoch: int | None
    version: int | None
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
