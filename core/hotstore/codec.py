"""Records as bytes: msgpack arrays that begin with epoch and version, a license's with its limits behind them.

The functions in Redis read no more than that beginning, and find it behind a head of one byte: a record has at most 15
fields (msgpack's fixarray). Both are held by a test. The rest is opaque to Lua, whose msgpack does not know the binary
type. It reads a nil as if nothing stood there, hence UNLIMITED: "unlimited" is said, never left out.
"""

from typing import Final

import msgspec

from core.hotstore.keys import HASH_BYTES
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LeaseRecord, LicenseRecord

UNLIMITED: Final = -1

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode_license = msgspec.msgpack.Decoder(LicenseRecord).decode
_decode_api_key = msgspec.msgpack.Decoder(ApiKeyRecord).decode
_decode_lease = msgspec.msgpack.Decoder(LeaseRecord).decode


def encode_license(record: LicenseRecord) -> bytes:
    limits: dict[Resource, int | None] = {
        resource: UNLIMITED if most is None else most for resource, most in record.limits.items()
    }
    # Features come from JSON that people edit; what is not exactly true is not granted, and never unreadable here.
    features = {name: flag is True for name, flag in record.features.items()}
    return _encode(msgspec.structs.replace(record, limits=limits, features=features))


def decode_license(packed: bytes) -> LicenseRecord:
    record = _decode_license(packed)
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
