"""Bodies of requests and answers. Unknown fields, wrong types and endless strings are refused at this door."""

from typing import Annotated, Any, Final, TypeVar

import msgspec

from core.errors import InvalidInput
from core.licensing.plan import Resource

MOST_ITEMS: Final = 100
LONGEST_TTL: Final = 60

LicenseKey = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Feature = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Fingerprint = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Nonce = Annotated[str, msgspec.Meta(max_length=128)]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`nonce` makes two equal questions differ; it has no other meaning here."""

    license_key: LicenseKey
    feature: Feature
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class AskMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[Ask], msgspec.Meta(min_length=1, max_length=MOST_ITEMS)]


class AskReservation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    license_key: LicenseKey
    resource: Resource
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    ttl: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_TTL)]
    fingerprint: Fingerprint | None = None


class AskRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    license_key: LicenseKey
    reservation_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class AskLease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    license_key: LicenseKey
    fingerprint: Fingerprint | None = None
    nonce: Nonce | None = None


class Reservation(msgspec.Struct, frozen=True):
    granted: bool
    reservation_id: str | None
    remaining_quota: int | None
    code: str
    stale: bool
    request_id: str


class Release(msgspec.Struct, frozen=True):
    released: bool
    code: str
    """RELEASED, PINNED (its report is being recorded), GONE or NOT_FOUND."""
    request_id: str


class Lease(msgspec.Struct, frozen=True):
    lease: str | None
    not_after: str | None
    code: str
    request_id: str


class Rule(msgspec.Struct, frozen=True):
    code: str
    applies: bool
    saw: dict[str, Any]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    valid: bool
    remaining_quota: int | None
    code: str
    rules: list[Rule]
    license_id: str | None
    epoch: int | None
    version: int | None
    as_of: str | None
    age_seconds: float
    stale: bool
    request_id: str


T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except ValueError as fault:  # msgspec's own errors, and UnicodeDecodeError
        raise InvalidInput(str(fault)) from fault
