"""Records of the projection: a license, its usage, the API key that may ask, and the lease.

Workers build them from Postgres, `core/hotstore` carries them through Redis, the validator makes verdicts from them.
`(epoch, version)` orders two states of one row: `version` rises with every change, `epoch` with every restore of the
database from a backup, so that a state from before the restore never wins over one after it. Instants are unix seconds.
A limit of None is unlimited; a resource that `limits` does not name is not granted at all.

The structs are stored as msgpack arrays, in the order of their fields (core/hotstore/codec.py says what relies on it):
add a new field at the end, with a default.
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
    """A license. A tombstone is stored under a key that was rotated, and means "no such license"."""

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
    """For each resource: what was reported, and what live reservations hold. A resource that is not named is 0."""

    used: Mapping[Resource, int] = {}
    held: Mapping[Resource, int] = {}

    def taken(self, resource: Resource) -> int:
        """Reports may come out of order, so `used` may be below zero for a while; that counts as 0."""
        return max(0, self.used.get(resource, 0)) + self.held.get(resource, 0)


class ApiKeyRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A key that signs NextPanel calls.

    Secrets are sealed (core.crypto.sealing) with the context `api_key:<key_id>`. `previous_secret` is valid
    until `previous_until`, the overlap of a rotation. `license_hash` is the keyed hash of the one license that the key
    belongs to; None is a platform key, which may ask about every license. `networks`: those that the key may be used
    from, in CIDR notation; none means any.
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
    networks: tuple[str, ...] = ()

    def live(self, now: float) -> bool:
        return self.active and (self.expires_at is None or now < self.expires_at)


class LeaseRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A signed lease of one version of a license: the JWS that clients get, usable offline until `not_after`.

    Without a token this version has no lease. A version is signed again before its lease ends, hence `signed_at`.
    """

    epoch: int
    version: int
    not_after: float
    token: str
    signed_at: float = 0.0
