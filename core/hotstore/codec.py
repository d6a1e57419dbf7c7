"""Codec of records: msgpack arrays that begin with epoch and version; a license's limits come next.

The functions in Redis read only that beginning, behind a header of one byte: a record has at most 15 fields (msgpack's
fixarray). A test checks both. The rest is opaque to Lua, whose msgpack does not know the binary type. Lua reads a nil
as a missing value, hence UNLIMITED: "unlimited" is a number, never a nil.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import msgspec

from core.hotstore.keys import HASH_BYTES
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LeaseRecord, LicenseRecord

UNLIMITED: Final = -1

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode_license = msgspec.msgpack.Decoder(LicenseRecord).decode
_decode_api_key = msgspec.msgpack.Decoder(ApiKeyRecord).decode
_decode_lease = msgspec.msgpack.Decoder(LeaseRecord).decode


class Common(NamedTuple):
    """Limits and features, packed once for all licenses of a plan: there are few plans and many licenses."""

    limits: Mapping[Resource, int | None]
    features: Mapping[str, bool]


def pack_common(limits: Mapping[Resource, int | None], features: Mapping[str, bool]) -> Common:
    """For the fields of a record that `encode_packed` packs, and for nothing else: they cannot be read."""
    said = {resource: UNLIMITED if most is None else most for resource, most in limits.items()}
    # Features come from JSON that people edit: any value but true counts as false, so that it can always be read.
    granted = {name: flag is True for name, flag in features.items()}
    return Common(*(cast("Mapping[Any, Any]", msgspec.Raw(_encode(part))) for part in (said, granted)))


def encode_packed(record: LicenseRecord) -> bytes:
    """Packs a record whose limits and features are those of a `Common`."""
    return _encode(record)


def encode_license(record: LicenseRecord) -> bytes:
    limits, features = pack_common(record.limits, record.features)
    return _encode(msgspec.structs.replace(record, limits=limits, features=features))


def decode_license(packed: bytes) -> LicenseRecord:
    return with_unlimited(_decode_license(packed))


def with_unlimited(record: LicenseRecord) -> LicenseRecord:
    """A record that was stored, with None where it says UNLIMITED."""
    if UNLIMITED not in record.limits.values():
        return record
    limits = {resource: None if most == UNLIMITED else most for resource, most in record.limits.items()}
    return msgspec.structs.replace(record, limits=limits)


def encode_api_key(record: ApiKeyRecord) -> bytes:
    if record.license_hash is not None and len(record.license_hash) != HASH_BYTES:
        record = msgspec.structs.replace(record, license_hash=record.license_hash[:HASH_BYTES])
    return _encode(record)


def decode_api_key(packed: bytes) -> ApiKeyRecord:
    return _decode_api_key(packed)


def encode_lease(record: LeaseRecord) -> bytes:
    return _encode(record)


def decode_lease(packed: bytes) -> LeaseRecord:
    return _decode_lease(packed)
