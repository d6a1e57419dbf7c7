"""What a verdict is made from: a license as it stands, what was used of it, and the key that may ask.

These are the projection's rows. The worker builds them from Postgres, `core/hotstore` carries them through Redis, the
validator judges them. `(epoch, version)` orders two states of one row: `version` rises with every change, `epoch` with
every restore of the database from a backup, so that a state from before the restore never wins over one after it.
Instants are unix seconds. A limit of None is unlimited; a resource that `limits` does not name is not granted at all.

The structs travel as msgpack arrays, their fields in the order they stand here (core/hotstore/codec.py says who relies
on it): a new field goes to the end, with a default.
"""

from collections.abc import Mapping
from typing import Final, Literal
from uuid import UUID

import msgspec

from core.licensing.plan import Resource
from core.licensing.state import Status

Permission = Literal["validate", "reserve", "usage", "lease"]
PERMISSIONS: Final[frozenset[Permission]] = frozenset({"validate", "reserve", "usage", "lease"})


class LicenseRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One license; a tombstone stands where a key led before it was rotated, and reads as "no such license"."""

    epoch: int
    version: int
    limits: Mapping[Resource, int | None]
    license_id: UUID
    status: Status
    valid_from: float | None = None
    valid_until: float | None = None
    grace_until: float | None = None
    features: Mapping[str, bool] = {}
    fingerprint_required: bool = False
    fingerprint: str | None = None
    tombstone: bool = False


class Usage(msgspec.Struct, frozen=True):
    """Per resource: what was reported, and what live reservations hold. A resource not named stands at 0."""

    used: Mapping[Resource, int] = {}
    held: Mapping[Resource, int] = {}

    def taken(self, resource: Resource) -> int:
        """Reports come out of order, so `used` may be below zero for a while; that is no gift to anybody."""
        return max(0, self.used.get(resource, 0)) + self.held.get(resource, 0)


class ApiKeyRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A key that signs NextPanel calls.

    Secrets are sealed (core.crypto.sealing) with the context `api_key:<key_id>`. `previous_secret` counts until
    `previous_until`, the overlap of a rotation. `license_hash` is the keyed hash of the one license the key belongs
    to; None is a platform key, which may ask about every license.
    """

    epoch: int
    version: int
    key_id: str
    active: bool
    license_hash: bytes | None
    permissions: frozenset[Permission]
    current_secret: bytes
    previous_secret: bytes | None = None
    previous_until: float | None = None
    expires_at: float | None = None

    def live(self, now: float) -> bool:
        return self.active and (self.expires_at is None or now < self.expires_at)


class LeaseRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A signed lease of one version of a license: the JWS as it is handed out, usable offline until `not_after`.

    Without a token: this version has no lease. A version is signed again before its lease ends, hence `signed_at`.
    """

    epoch: int
    version: int
    not_after: float
    token: str
    signed_at: float = 0.0
