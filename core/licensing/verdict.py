"""Verdict: may this license do this now, and how much is left. The order of the rules decides which code wins.

The rules are tried in one order, and the first that applies decides; `Code` lists them in that order. So a suspended
license that has also run out of databases is SUSPENDED: the client is told the most important reason, and never has to
weigh two.

`remaining` counts before the requested action. None means that nothing is counted (unlimited, or a plain flag), and
comes only with a yes. Every refusal says 0, so that a client that reads only the quota refuses as well.
"""

import enum
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from core.licensing.plan import RESOURCE_OF_FEATURE
from core.licensing.record import LicenseRecord, Usage
from core.licensing.state import Status


class Code(enum.StrEnum):
    """The code of a verdict. VALID and GRACE are a yes; of the others the first that applies is told."""

    NOT_FOUND = "NOT_FOUND"
    SUSPENDED = "SUSPENDED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    NOT_YET_VALID = "NOT_YET_VALID"
    FINGERPRINT_REQUIRED = "FINGERPRINT_REQUIRED"
    FINGERPRINT_MISMATCH = "FINGERPRINT_MISMATCH"
    FEATURE_NOT_INCLUDED = "FEATURE_NOT_INCLUDED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    GRACE = "GRACE"
    VALID = "VALID"


_LAST_SECOND: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
_NEVER: Final = float("inf")
STANDS: Final = frozenset({Code.VALID, Code.GRACE})
"""The codes of a license that is usable."""


class Verdict(NamedTuple):
    code: Code
    remaining: int | None

    @property
    def valid(self) -> bool:
        return self.code in STANDS


_REFUSED: Final = {
    Status.SUSPENDED: Code.SUSPENDED,
    Status.CANCELLED: Code.CANCELLED,
    Status.EXPIRED: Code.EXPIRED,
}


def judge(record: LicenseRecord | None, usage: Usage, feature: str, fingerprint: str | None, now: float) -> Verdict:
    """`record` is None only where the store is certain that there is no such license."""
    code = standing(record, fingerprint, now)
    if record is None or code not in STANDS:
        return Verdict(code, 0)
    if not _included(record, feature):
        return Verdict(Code.FEATURE_NOT_INCLUDED, 0)
    resource = RESOURCE_OF_FEATURE.get(feature)
    limit = None if resource is None else record.limits[resource]
    if resource is None or limit is None:
        return Verdict(code, None)
    remaining = limit - usage.taken(resource)
    return Verdict(code, remaining) if remaining > 0 else Verdict(Code.QUOTA_EXCEEDED, 0)


def standing(record: LicenseRecord | None, fingerprint: str | None, now: float) -> Code:
    """The code of the license itself, for any feature: of a rule above FEATURE_NOT_INCLUDED, else GRACE or VALID."""
    if record is None or record.tombstone:
        return Code.NOT_FOUND
    if record.status is not Status.ACTIVE:
        return _REFUSED[record.status]
    lapsed = _lapsed(record, now)
    if lapsed and not _in_grace(record, now):
        return Code.EXPIRED
    if not _begun(record, now):
        return Code.NOT_YET_VALID
    return _fingerprint_fault(record, fingerprint) or (Code.GRACE if lapsed else Code.VALID)


def holds_until(record: LicenseRecord, now: float) -> float:
    """The next instant at which a date alone changes the code of this license; infinity where there is none."""
    until = _NEVER
    for turn in (record.valid_from, record.valid_until, record.grace_until):
        if turn is not None and now < turn < until:
            until = turn
    return until


def _begun(record: LicenseRecord, now: float) -> bool:
    return record.valid_from is None or now >= record.valid_from


def _lapsed(record: LicenseRecord, now: float) -> bool:
    return record.valid_until is not None and now >= record.valid_until


def _in_grace(record: LicenseRecord, now: float) -> bool:
    return record.grace_until is not None and now < record.grace_until


def _fingerprint_fault(record: LicenseRecord, fingerprint: str | None) -> Code | None:
    """A bound fingerprint is compared whenever one is sent, required or not: a panel with another one is a copy."""
    if fingerprint is None:
        return Code.FINGERPRINT_REQUIRED if record.fingerprint_required else None
    if record.fingerprint is not None and fingerprint != record.fingerprint:
        return Code.FINGERPRINT_MISMATCH
    return None


def _included(record: LicenseRecord, feature: str) -> bool:
    """A counted feature is included with its resource, unless a flag of its name is false. Others need their flag."""
    resource = RESOURCE_OF_FEATURE.get(feature)
    if resource is None:
        return record.features.get(feature, False)
    return resource in record.limits and record.features.get(feature, True)


class Finding(NamedTuple):
    """One rule, whether it applies, and the values it looked at, instants among them in UTC."""

    rule: Code
    applies: bool
    saw: dict[str, Any]


def explain(
    record: LicenseRecord | None, usage: Usage, feature: str, fingerprint: str | None, now: float
) -> list[Finding]:
    """Every rule in the order of `judge`; the verdict is the first that applies, and the last one always does."""
    found = [Finding(Code.NOT_FOUND, record is None or record.tombstone, {"known": record is not None})]
    if record is None:
        return found
    found += [Finding(code, record.status is status, {"status": record.status}) for status, code in _REFUSED.items()]
    clock = {"now": _instant(now)}
    until = clock | {"valid_until": _instant(record.valid_until), "grace_until": _instant(record.grace_until)}
    printed = {"required": record.fingerprint_required, "bound": record.fingerprint is not None, "sent": fingerprint}
    fault = _fingerprint_fault(record, fingerprint)
    found += [
        Finding(Code.EXPIRED, _lapsed(record, now) and not _in_grace(record, now), until),
        Finding(Code.NOT_YET_VALID, not _begun(record, now), clock | {"valid_from": _instant(record.valid_from)}),
        Finding(Code.FINGERPRINT_REQUIRED, fault is Code.FINGERPRINT_REQUIRED, printed),
        Finding(Code.FINGERPRINT_MISMATCH, fault is Code.FINGERPRINT_MISMATCH, printed),
        *_findings_on_feature(record, usage, feature),
        Finding(Code.GRACE, _lapsed(record, now), until),
        Finding(Code.VALID, applies=True, saw={}),
    ]
    return found


def _instant(unix: float | None) -> datetime | None:
    """An expiry at the end of the year 9999, which means never, may be rounded up to a year that no datetime has."""
    return None if unix is None else datetime.fromtimestamp(min(unix, _LAST_SECOND), UTC)


def _findings_on_feature(record: LicenseRecord, usage: Usage, feature: str) -> list[Finding]:
    saw: dict[str, Any] = {"feature": feature, "flag": record.features.get(feature)}
    included = _included(record, feature)
    resource = RESOURCE_OF_FEATURE.get(feature)
    if resource is None or resource not in record.limits:
        return [Finding(Code.FEATURE_NOT_INCLUDED, not included, saw)]
    limit = record.limits[resource]
    counted = {
        "resource": resource,
        "limit": limit,
        "used": usage.used.get(resource, 0),
        "held": usage.held.get(resource, 0),
    }
    exceeded = limit is not None and usage.taken(resource) >= limit
    return [
        Finding(Code.FEATURE_NOT_INCLUDED, not included, saw),
        Finding(Code.QUOTA_EXCEEDED, exceeded, counted),
    ]
