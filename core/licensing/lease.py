"""Lease (offline license): a signed statement of one version of a license, for panels that cannot reach us.

It does not prove that the license is valid now; it limits for how long a panel may go on without asking. Its use
decreases in steps:

    until not_after       full: every rule can be answered; for a counted feature the panel must know what is used
    until offline_until   reduced: what runs goes on running (plain flags), nothing new is granted (counted features)
    after that            nothing: the lease does not say whether the license is valid

The license's own dates count within a lease, too: if its grace period ends tomorrow, a later not_after does not help.

A clock that was set back would make every lease eternal. So a lease from the future is refused, and so is a `now`
before the latest instant that the panel has seen. Both allow the tolerance of request signatures for a slow clock.

Nothing here does I/O: keys, clock and the latest instant are passed in. clients/python has its own copy of these rules;
a test compares the two.
"""

import enum
import math
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from core.crypto.lease import LeaseDefect, opened
from core.licensing.plan import RESOURCE_OF_FEATURE, Resource
from core.licensing.record import LicenseRecord, Usage
from core.licensing.state import Status
from core.licensing.verdict import STANDS, Code, Verdict, judge, standing

ISSUER: Final = "nextpanel-billing"
AUDIENCE: Final = "nextpanel"

LIFE: Final = 24 * 3600
"""Seconds from the signature to not_after."""

OFFLINE_GRACE: Final = 7 * 24 * 3600
"""Seconds from not_after to offline_until."""

TOLERANCE: Final = 300
"""Seconds by which a clock may be slow; as many as a request's signature may be old (core/crypto/signature.py)."""


class LeaseCode(enum.StrEnum):
    """What a lease says: the first code that applies, in this order."""

    MALFORMED = "MALFORMED"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    FOR_SOMEBODY_ELSE = "FOR_SOMEBODY_ELSE"
    CLOCK_SET_BACK = "CLOCK_SET_BACK"
    LEASE_EXPIRED = "LEASE_EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    EXPIRED = "EXPIRED"
    FINGERPRINT_REQUIRED = "FINGERPRINT_REQUIRED"
    FINGERPRINT_MISMATCH = "FINGERPRINT_MISMATCH"
    GRACE = "GRACE"
    VALID = "VALID"


class LeaseTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The claims. Instants are unix seconds; a limit of null is unlimited, a resource not named is not granted."""

    iss: str
    aud: str
    sub: UUID
    version: int
    iat: int
    not_before: int
    not_after: int
    offline_until: int
    valid_from: int | None
    valid_until: int | None
    grace_until: int | None
    features: Mapping[str, bool]
    limits: Mapping[Resource, int | None]
    fingerprint_required: bool
    fingerprint: str | None

    def record(self) -> LicenseRecord:
        """The license as the lease states it, for the same rules as the original."""
        return LicenseRecord(
            epoch=0,
            version=self.version,
            limits=self.limits,
            license_id=self.sub,
            status=Status.ACTIVE,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            grace_until=self.grace_until,
            features=self.features,
            fingerprint_required=self.fingerprint_required,
            fingerprint=self.fingerprint,
        )


class LeaseReading(NamedTuple):
    """`terms` where the signature is valid and they are meant for us, in force or not."""

    code: LeaseCode
    terms: LeaseTerms | None
    reduced: bool = False
    """Between not_after and offline_until; the code is GRACE then."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LeaseTerms).decode


def leasable(record: LicenseRecord, now: float) -> bool:
    """Whether this license may get a lease: it is usable, or will be once its term begins."""
    fitting = record.fingerprint or ""
    return standing(record, fitting, now) in STANDS | {Code.NOT_YET_VALID}


def draft(record: LicenseRecord, *, now: float, life: float = LIFE) -> LeaseTerms:
    """The terms of a lease made now, for a license that is leasable."""
    issued_at = math.floor(now)
    begins = None if record.valid_from is None else math.floor(record.valid_from)
    not_after = issued_at + math.floor(life)
    return LeaseTerms(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=record.license_id,
        version=record.version,
        iat=issued_at,
        not_before=max(issued_at, begins or 0),
        not_after=not_after,
        offline_until=not_after + OFFLINE_GRACE,
        valid_from=begins,
        valid_until=None if record.valid_until is None else math.ceil(record.valid_until),
        grace_until=None if record.grace_until is None else math.ceil(record.grace_until),
        features=record.features,
        limits=record.limits,
        fingerprint_required=record.fingerprint_required,
        fingerprint=record.fingerprint,
    )


def encode(terms: LeaseTerms) -> bytes:
    """The claims of a token."""
    return _encode(terms)


def read(
    token: str,
    public_keys: Mapping[str, bytes],
    *,
    now: float,
    last_seen: float | None = None,
    fingerprint: str | None = None,
) -> LeaseReading:
    """What a lease says at `now`, to the panel with this fingerprint.

    `public_keys`: kid → 32 bytes. `last_seen`: the latest instant that the panel has ever seen.
    """
    # 1. Signature, form and audience: where one of them is wrong, nothing in the lease counts.
    claims = opened(token, public_keys)
    if isinstance(claims, LeaseDefect):
        return LeaseReading(LeaseCode[claims.name], None)
    try:
        terms = _decode(claims)
    except ValueError:
        return LeaseReading(LeaseCode.MALFORMED, None)
    if (terms.iss, terms.aud) != (ISSUER, AUDIENCE):
        return LeaseReading(LeaseCode.FOR_SOMEBODY_ELSE, None)
    # 2. The lease's own time, the clock first.
    fault = _out_of_time(terms, now, terms.iat if last_seen is None else last_seen)
    if fault is not None:
        return LeaseReading(fault, terms)
    # 3. The license's rules, as the validator applies them.
    code = LeaseCode[standing(terms.record(), fingerprint, now).name]
    if code in {LeaseCode.VALID, LeaseCode.GRACE} and now >= terms.not_after:
        return LeaseReading(LeaseCode.GRACE, terms, reduced=True)
    return LeaseReading(code, terms)


def _out_of_time(terms: LeaseTerms, now: float, last_seen: float) -> LeaseCode | None:
    if now + TOLERANCE < max(terms.iat, last_seen):
        return LeaseCode.CLOCK_SET_BACK
    if now >= terms.offline_until:
        return LeaseCode.LEASE_EXPIRED
    if now + TOLERANCE < terms.not_before:
        return LeaseCode.NOT_YET_VALID
    return None


def answer(reading: LeaseReading, feature: str, *, now: float, used: int | None = None) -> Verdict | None:
    """The verdict on a feature, or None where this lease cannot tell.

    `used`: the panel's own count of the resource that the feature uses. A lease knows only the limit.
    """
    terms = reading.terms
    if terms is None or reading.code not in {LeaseCode.VALID, LeaseCode.GRACE}:
        return None
    resource = RESOURCE_OF_FEATURE.get(feature)
    if resource is None:
        usage = Usage()
    elif reading.reduced or (used is None and terms.limits.get(resource) is not None):
        return None
    else:
        usage = Usage(used={resource: used or 0})
    verdict = judge(terms.record(), usage, feature, terms.fingerprint or "", now)
    return verdict._replace(code=Code[reading.code.name]) if verdict.valid else verdict
