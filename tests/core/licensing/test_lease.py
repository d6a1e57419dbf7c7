"""Lease: what it says at which instant and to whom: its steps, the clock, the license's own dates."""

import math
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.crypto.lease import LeaseSigner
from core.crypto.signature import MAX_AGE
from core.licensing.lease import (
    AUDIENCE,
    ISSUER,
    LIFE,
    OFFLINE_GRACE,
    TOLERANCE,
    LeaseCode,
    LeaseReading,
    answer,
    draft,
    encode,
    leasable,
    read,
)
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from core.licensing.verdict import STANDS, Code, Verdict, standing

pytestmark = pytest.mark.calendar

NOW: Final = 1_800_000_000.25
DAY: Final = 86_400
SIGNER: Final = LeaseSigner({"k1": bytes(range(32))})
RECORD: Final = LicenseRecord(
    epoch=1,
    version=7,
    limits={"databases": 5, "domains": None},
    license_id=UUID(int=7),
    status=Status.ACTIVE,
    features={"backups": True, "staging": False},
)


def a_license(**changes: Any) -> LicenseRecord:
    return msgspec.structs.replace(RECORD, **changes)


def a_token(record: LicenseRecord = RECORD) -> str:
    return SIGNER.sign(encode(draft(record, now=NOW)))


def reading(record: LicenseRecord = RECORD, **question: Any) -> LeaseReading:
    return read(a_token(record), SIGNER.public_keys, **{"now": NOW, **question})


def test_a_lease_carries_what_the_license_may() -> None:
    code, terms, reduced = reading()
    assert (code, reduced) == (LeaseCode.VALID, False)
    assert terms is not None
    assert (terms.iss, terms.aud, terms.sub, terms.version) == (ISSUER, AUDIENCE, UUID(int=7), 7)
    assert terms.limits == {"databases": 5, "domains": None}
    assert terms.features == {"backups": True, "staging": False}
    assert (terms.iat, terms.not_before) == (1_800_000_000, 1_800_000_000)
    assert (terms.not_after - terms.iat, terms.offline_until - terms.not_after) == (LIFE, OFFLINE_GRACE)


def test_the_key_of_the_license_is_nowhere_in_it() -> None:
    claims = msgspec.json.decode(encode(draft(RECORD, now=NOW)))
    assert set(claims) == {
        "iss", "aud", "sub", "version", "iat", "not_before", "not_after", "offline_until", "valid_from", "valid_until",
        "grace_until", "features", "limits", "fingerprint_required", "fingerprint",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("later", "code", "reduced"),
    [
        (0, LeaseCode.VALID, False),
        (LIFE - 1, LeaseCode.VALID, False),
        (LIFE, LeaseCode.GRACE, True),
        (LIFE + OFFLINE_GRACE - 1, LeaseCode.GRACE, True),
        (LIFE + OFFLINE_GRACE, LeaseCode.LEASE_EXPIRED, False),
        (LIFE + 365 * DAY, LeaseCode.LEASE_EXPIRED, False),
    ],
)
def test_the_ladder(later: float, code: LeaseCode, reduced: bool) -> None:
    found = reading(now=NOW + later)
    assert (found.code, found.reduced) == (code, reduced)
    assert found.terms is not None


def test_a_clock_set_back_revives_nothing() -> None:
    assert reading(now=NOW - TOLERANCE - 1).code is LeaseCode.CLOCK_SET_BACK  # iat lies in the future
    ended = NOW + LIFE + OFFLINE_GRACE
    assert reading(now=NOW + 60, last_seen=ended).code is LeaseCode.CLOCK_SET_BACK
    assert reading(now=NOW, last_seen=NOW + TOLERANCE).code is LeaseCode.VALID
    assert reading(now=NOW, last_seen=NOW - DAY).code is LeaseCode.VALID


def test_a_clock_may_be_as_slow_as_a_signature_may_be_old() -> None:
    assert TOLERANCE == MAX_AGE
    assert reading(now=NOW - TOLERANCE + 1).code is LeaseCode.VALID


def test_the_license_s_own_calendar_goes_on() -> None:
    record = a_license(valid_until=NOW + 100, grace_until=NOW + 200)
    assert reading(record, now=NOW + 99).code is LeaseCode.VALID
    assert reading(record, now=NOW + 150) == LeaseReading(LeaseCode.GRACE, draft(record, now=NOW))
    assert reading(record, now=NOW + 250).code is LeaseCode.EXPIRED
    assert reading(a_license(valid_until=NOW + 100), now=NOW + 150).code is LeaseCode.EXPIRED


def test_a_license_that_begins_later() -> None:
    record = a_license(valid_from=NOW + 1000)
    assert reading(record).code is LeaseCode.NOT_YET_VALID
    assert reading(record, now=NOW + 900).code is LeaseCode.NOT_YET_VALID
    assert reading(record, now=NOW + 1000).code is LeaseCode.VALID


@pytest.mark.parametrize(
    ("bound", "required", "sent", "code"),
    [
        ("here", True, "here", LeaseCode.VALID),
        ("here", True, "there", LeaseCode.FINGERPRINT_MISMATCH),
        ("here", True, None, LeaseCode.FINGERPRINT_REQUIRED),
        ("here", False, "there", LeaseCode.FINGERPRINT_MISMATCH),
        ("here", False, None, LeaseCode.VALID),
        (None, False, "there", LeaseCode.VALID),
    ],
)
def test_a_lease_is_one_panel_s(bound: str | None, required: bool, sent: str | None, code: LeaseCode) -> None:
    record = a_license(fingerprint=bound, fingerprint_required=required)
    assert reading(record, fingerprint=sent).code is code


def test_what_is_not_signed_says_nothing() -> None:
    stranger = LeaseSigner({"k1": bytes(32)}).sign(encode(draft(RECORD, now=NOW)))
    assert read(stranger, SIGNER.public_keys, now=NOW) == LeaseReading(LeaseCode.BAD_SIGNATURE, None)
    assert read(a_token(), {}, now=NOW) == LeaseReading(LeaseCode.UNKNOWN_KEY, None)
    assert read("no lease", SIGNER.public_keys, now=NOW) == LeaseReading(LeaseCode.MALFORMED, None)


@pytest.mark.parametrize("claims", [b"", b"{}", b"[]", b'{"iss":"nextpanel-billing"}', b"\xff"])
def test_claims_that_are_no_terms(claims: bytes) -> None:
    expected = LeaseReading(LeaseCode.MALFORMED, None)
    assert read(SIGNER.sign(claims or b" "), SIGNER.public_keys, now=NOW) == expected


@pytest.mark.parametrize("change", [{"iss": "somebody"}, {"aud": "the billing API"}])
def test_a_document_for_somebody_else(change: dict[str, str]) -> None:
    terms = msgspec.structs.replace(draft(RECORD, now=NOW), **change)
    expected = LeaseReading(LeaseCode.FOR_SOMEBODY_ELSE, None)
    assert read(SIGNER.sign(encode(terms)), SIGNER.public_keys, now=NOW) == expected


@pytest.mark.parametrize(
    ("later", "feature", "used", "expected"),
    [
        (0, "backups", None, Verdict(Code.VALID, None)),
        (0, "staging", None, Verdict(Code.FEATURE_NOT_INCLUDED, 0)),
        (0, "unheard of", None, Verdict(Code.FEATURE_NOT_INCLUDED, 0)),
        (0, "create_database", 3, Verdict(Code.VALID, 2)),
        (0, "create_database", 5, Verdict(Code.QUOTA_EXCEEDED, 0)),
        (0, "create_database", None, None),  # the lease does not know the usage
        (0, "create_domain", None, Verdict(Code.VALID, None)),  # unlimited: nothing to know
        (0, "create_email", 0, Verdict(Code.FEATURE_NOT_INCLUDED, 0)),  # a resource that is not granted at all
        (LIFE, "backups", None, Verdict(Code.GRACE, None)),
        (LIFE, "create_database", 3, None),  # nothing new after not_after
        (LIFE, "create_domain", None, None),
        (LIFE + OFFLINE_GRACE, "backups", None, None),
    ],
)
def test_answers_from_a_lease(later: float, feature: str, used: int | None, expected: Verdict | None) -> None:
    now = NOW + later
    assert answer(reading(now=now), feature, now=now, used=used) == expected


def test_no_answer_to_a_stranger() -> None:
    record = a_license(fingerprint="here", fingerprint_required=True)
    assert answer(reading(record, fingerprint="there"), "backups", now=NOW) is None
    assert answer(reading(record, fingerprint="here"), "backups", now=NOW) == Verdict(Code.VALID, None)
    assert answer(LeaseReading(LeaseCode.BAD_SIGNATURE, None), "backups", now=NOW) is None


INSTANTS = st.none() | st.integers(-3 * DAY, 3 * DAY).map(
    lambda offset: int(NOW) + offset
)  # a lease knows whole seconds
RECORDS = st.builds(
    a_license,
    status=st.sampled_from(Status),
    valid_from=INSTANTS,
    valid_until=INSTANTS,
    grace_until=INSTANTS,
    fingerprint=st.sampled_from([None, "here"]),
    fingerprint_required=st.booleans(),
).filter(lambda record: (record.valid_from or 0) < (record.valid_until or math.inf))  # none ends before it begins


@given(record=RECORDS)
def test_a_lease_is_made_exactly_where_it_will_say_yes(record: LicenseRecord) -> None:
    """To the right panel, at once or when the license begins."""
    if leasable(record, NOW):
        found = reading(record, now=NOW, fingerprint=record.fingerprint or "any")
        if (record.valid_from or 0) <= NOW:
            assert Code[found.code.name] in STANDS
        else:
            assert found.code is LeaseCode.NOT_YET_VALID
    else:
        assert standing(record, record.fingerprint or "any", NOW) not in STANDS


@given(record=RECORDS, later=st.integers(0, LIFE - 1), sent=st.sampled_from([None, "here", "there"]))
def test_within_its_life_a_lease_says_what_the_validator_would(
    record: LicenseRecord, later: int, sent: str | None
) -> None:
    if leasable(record, NOW):
        now = float(int(NOW) + later)
        expected = standing(record, sent, now)
        assert reading(record, now=now, fingerprint=sent).code.name == expected.name
