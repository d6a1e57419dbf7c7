"""Leases: signed by the billing service, read here while it cannot be asked. The format is core/licensing/lease.py's.

    until not_after       full: every feature; a counted one if the caller says how many are used
    until offline_until   reduced: plain features go on, nothing new is granted
    after that            nothing can be told

The rules stand here once more, so that this package needs nothing of the service's; a test holds the two together.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from nextpanel_billing_client.answers import Verdict

TOLERANCE: Final = 300
"""Seconds by which this machine's clock may be slow."""

_COMPACT: Final = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_HEADER: Final = {"alg": "EdDSA", "typ": "np-lease+jwt"}
_RESOURCES: Final = {
    "create_account": "accounts",
    "create_domain": "domains",
    "create_database": "databases",
    "create_email": "emails",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The claims. Instants are unix seconds; a limit of None is unlimited, a resource not named is not granted."""

    iss: str
    aud: str
    sub: str
    version: int
    iat: int
    not_before: int
    not_after: int
    offline_until: int
    valid_from: int | None
    valid_until: int | None
    grace_until: int | None
    features: Mapping[str, bool]
    limits: Mapping[str, int | None]
    fingerprint_required: bool
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """`code`: VALID, GRACE, or the reason why there is no verdict."""

    code: str
    terms: Terms | None = None
    reduced: bool = False


def read(
    token: str, public_keys: Mapping[str, bytes], *, now: float, last_seen: float = 0, fingerprint: str | None = None
) -> Reading:
    """Judges a lease. `last_seen`: the latest instant this machine has ever seen, against a clock set back."""
    opened = _opened(token, public_keys)
    if isinstance(opened, str):
        return Reading(opened)
    try:
        terms = Terms(**{field.name: opened[field.name] for field in fields(Terms)})
    except (KeyError, TypeError):
        return Reading("MALFORMED")
    if (terms.iss, terms.aud) != ("nextpanel-billing", "nextpanel"):
        return Reading("FOR_SOMEBODY_ELSE")
    fault = _out_of_time(terms, now, last_seen) or _calendar(terms, now) or _stranger(terms, fingerprint)
    if fault is not None:
        return Reading(fault, terms)
    if now >= terms.not_after:
        return Reading("GRACE", terms, reduced=True)
    return Reading("GRACE" if terms.valid_until is not None and now >= terms.valid_until else "VALID", terms)


def answer(reading: Reading, feature: str, *, used: int | None = None) -> Verdict | None:
    """The verdict on a feature, or None where the lease has none."""
    terms = reading.terms
    if terms is None or reading.code not in {"VALID", "GRACE"}:
        return None
    resource = _RESOURCES.get(feature)
    if resource is None:
        return _verdict(reading, terms, None if terms.features.get(feature) is True else "FEATURE_NOT_INCLUDED")
    limit = terms.limits.get(resource)
    if reading.reduced or (limit is not None and used is None):
        return None
    if resource not in terms.limits or terms.features.get(feature) is False:
        return _verdict(reading, terms, "FEATURE_NOT_INCLUDED")
    remaining = None if limit is None else max(0, limit - max(0, used or 0))
    return _verdict(reading, terms, "QUOTA_EXCEEDED" if remaining == 0 else None, remaining)


def public_keys(jwks: Mapping[str, Any]) -> dict[str, bytes]:
    """The Ed25519 keys of a JWK set (RFC 7517, RFC 8037), by kid."""
    return {key["kid"]: _raw(key["x"]) for key in jwks["keys"] if key.get("crv") == "Ed25519"}


def _opened(token: str, public_keys: Mapping[str, bytes]) -> dict[str, Any] | str:
    """The claims, or why there are none. One algorithm, one type: nothing in the header is a choice."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        return "MALFORMED"
    try:
        head, claims, signature = (_raw(part) for part in match.groups())
        header = json.loads(head)
        if {name: header.get(name) for name in _HEADER} != _HEADER or "crit" in header:
            return "MALFORMED"
        key = public_keys.get(header["kid"])
        if key is None:
            return "UNKNOWN_KEY"
        Ed25519PublicKey.from_public_bytes(key).verify(signature, token.rpartition(".")[0].encode())
        opened: dict[str, Any] = json.loads(claims)
    except InvalidSignature:
        return "BAD_SIGNATURE"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "MALFORMED"
    return opened


def _out_of_time(terms: Terms, now: float, last_seen: float) -> str | None:
    if now + TOLERANCE < max(terms.iat, last_seen):
        return "CLOCK_SET_BACK"
    if now >= terms.offline_until:
        return "LEASE_EXPIRED"
    return "NOT_YET_VALID" if now + TOLERANCE < terms.not_before else None


def _calendar(terms: Terms, now: float) -> str | None:
    if terms.valid_until is not None and now >= terms.valid_until and now >= (terms.grace_until or 0):
        return "EXPIRED"
    return "NOT_YET_VALID" if terms.valid_from is not None and now < terms.valid_from else None


def _stranger(terms: Terms, fingerprint: str | None) -> str | None:
    if fingerprint is None:
        return "FINGERPRINT_REQUIRED" if terms.fingerprint_required else None
    return "FINGERPRINT_MISMATCH" if terms.fingerprint not in {None, fingerprint} else None


def _verdict(reading: Reading, terms: Terms, refusal: str | None, remaining: int | None = None) -> Verdict:
    return Verdict(
        valid=refusal is None,
        code=refusal or reading.code,
        remaining_quota=remaining if refusal is None else 0,
        as_of=datetime.fromtimestamp(terms.iat, UTC),
        offline=True,
        reduced=reading.reduced,
    )


def _raw(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError("not canonical")
    return raw
