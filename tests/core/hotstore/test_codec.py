"""Codec: records survive packing, and have the format that Lua relies on."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.hotstore import codec
from core.licensing.plan import RESOURCES
from core.licensing.record import PERMISSIONS, ApiKeyRecord, LeaseRecord, LicenseRecord
from core.licensing.state import Status

_INSTANTS = st.one_of(st.none(), st.floats(0, 4e9))
_AGES = st.integers(0, 2**53)
LICENSES = st.builds(
    LicenseRecord,
    epoch=_AGES,
    version=_AGES,
    limits=st.dictionaries(st.sampled_from(RESOURCES), st.one_of(st.none(), st.integers(0, 2**53))),
    license_id=st.uuids(),
    status=st.sampled_from(Status),
    valid_from=_INSTANTS,
    valid_until=_INSTANTS,
    grace_until=_INSTANTS,
    features=st.dictionaries(st.text(max_size=20), st.booleans(), max_size=5),
    fingerprint_required=st.booleans(),
    fingerprint=st.one_of(st.none(), st.text(max_size=40)),
    tombstone=st.booleans(),
)
API_KEYS = st.builds(
    ApiKeyRecord,
    epoch=_AGES,
    version=_AGES,
    key_id=st.text(max_size=64),
    active=st.booleans(),
    license_hash=st.one_of(st.none(), st.binary(min_size=16, max_size=16)),
    permissions=st.frozensets(st.sampled_from(sorted(PERMISSIONS))),
    current_secret=st.binary(max_size=100),
    previous_secret=st.one_of(st.none(), st.binary(max_size=100)),
    previous_until=_INSTANTS,
    expires_at=_INSTANTS,
)
LEASES = st.builds(LeaseRecord, epoch=_AGES, version=_AGES, not_after=st.floats(0, 4e9), token=st.text())


@given(LICENSES)
def test_a_license_comes_back_as_it_was(record: LicenseRecord) -> None:
    assert codec.decode_license(codec.encode_license(record)) == record


@given(API_KEYS)
def test_an_api_key_comes_back_as_it_was(record: ApiKeyRecord) -> None:
    assert codec.decode_api_key(codec.encode_api_key(record)) == record


@given(LEASES)
def test_a_lease_comes_back_as_it_was(record: LeaseRecord) -> None:
    assert codec.decode_lease(codec.encode_lease(record)) == record


@given(
    st.one_of(LICENSES.map(codec.encode_license), API_KEYS.map(codec.encode_api_key), LEASES.map(codec.encode_lease))
)
def test_the_head_is_one_byte_and_epoch_and_version_follow(packed: bytes) -> None:
    """functions.lua begins to read behind the first byte: a fixarray, which has room for 15."""
    assert packed[0] & 0xF0 == 0x90
    fields = msgspec.msgpack.decode(packed)
    assert all(isinstance(age, int) for age in fields[:2])


@given(LICENSES)
def test_unlimited_is_said(record: LicenseRecord) -> None:
    """Lua cannot tell null from absent; one of them grants everything, the other nothing."""
    limits: dict[str, Any] = msgspec.msgpack.decode(codec.encode_license(record))[2]
    assert limits.keys() == record.limits.keys()
    assert None not in limits.values()
    assert [name for name, most in limits.items() if most == codec.UNLIMITED] == [
        name for name, most in record.limits.items() if most is None
    ]


def test_only_true_is_a_granted_feature() -> None:
    features: Any = {"a": True, "b": False, "c": 1, "d": "yes", "e": None, "f": {"x": 1}}
    record = LicenseRecord(
        epoch=1, version=1, limits={}, license_id=UUID(int=1), status=Status.ACTIVE, features=features
    )
    assert codec.decode_license(codec.encode_license(record)).features == {
        "a": True, "b": False, "c": False, "d": False, "e": False, "f": False,
    }  # fmt: skip


def test_a_long_hash_is_shortened_to_the_one_that_redis_knows() -> None:
    record = ApiKeyRecord(
        epoch=1,
        version=1,
        key_id="k",
        active=True,
        license_hash=bytes(range(32)),
        permissions=frozenset(),
        current_secret=b"",
    )
    assert codec.decode_api_key(codec.encode_api_key(record)).license_hash == bytes(range(16))


def test_a_record_from_before_there_were_networks_names_none() -> None:
    older = [1, 1, "k", True, None, ["validate"], b"sealed", None, None, None]
    assert codec.decode_api_key(msgspec.msgpack.encode(older)).networks == ()


@pytest.mark.parametrize("packed", [b"", b"\x00", b"\x93\x01\x01\x80", b"not msgpack"])
def test_what_cannot_be_read_is_an_error_and_not_a_license(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.decode_license(packed)
