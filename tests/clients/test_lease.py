"""The client's copy of the lease rules says what the service's own rules say, about every lease and every forgery."""

from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nextpanel_billing_client import lease

from core.crypto.lease import JwkSet, LeaseSigner
from core.licensing import lease as rules
from core.licensing.record import LicenseRecord
from core.licensing.state import Status

pytestmark = pytest.mark.calendar

NOW: Final = 1_800_000_000
DAY: Final = 86_400
SIGNER: Final = LeaseSigner({"k1": bytes(range(32))})
KEYS: Final = SIGNER.public_keys
RECORD: Final = LicenseRecord(
    epoch=1,
    version=7,
    limits={"databases": 5, "domains": None},
    license_id=UUID(int=7),
    status=Status.ACTIVE,
    features={"backups": True, "staging": False, "create_domain": False},
)

OFFSETS = st.integers(-9 * DAY, 9 * DAY) | st.sampled_from([0, rules.LIFE, rules.LIFE + rules.OFFLINE_GRACE])
INSTANTS = st.none() | OFFSETS.map(lambda offset: NOW + offset)
LEASES = st.builds(
    lambda **changes: rules.draft(msgspec.structs.replace(RECORD, **changes), now=NOW),
    valid_from=INSTANTS,
    valid_until=INSTANTS,
    grace_until=INSTANTS,
    fingerprint=st.sampled_from([None, "here"]),
    fingerprint_required=st.booleans(),
)
FEATURES = st.sampled_from(["backups", "staging", "unheard of", "create_database", "create_domain", "create_email"])


@given(
    terms=LEASES,
    later=OFFSETS,
    seen=st.none() | OFFSETS,
    sent=st.sampled_from([None, "here", "there"]),
    feature=FEATURES,
    used=st.none() | st.integers(-1, 6),
)
def test_both_say_the_same(
    terms: rules.LeaseTerms, later: int, seen: int | None, sent: str | None, feature: str, used: int | None
) -> None:
    token, now = SIGNER.sign(rules.encode(terms)), float(NOW + later)
    last_seen = None if seen is None else float(NOW + seen)
    theirs = rules.read(token, KEYS, now=now, last_seen=last_seen, fingerprint=sent)
    ours = lease.read(token, KEYS, now=now, last_seen=last_seen or 0, fingerprint=sent)
    assert (ours.code, ours.reduced) == (theirs.code.value, theirs.reduced)

    verdict = rules.answer(theirs, feature, now=now, used=used)
    answer = lease.answer(ours, feature, used=used)
    if verdict is None or answer is None:
        assert verdict is None
        assert answer is None
    else:
        told = (answer.valid, answer.code, answer.remaining_quota)
        assert told == (verdict.valid, verdict.code.value, verdict.remaining)
        assert answer.offline
        assert answer.reduced == theirs.reduced


@pytest.mark.parametrize(
    "token",
    [
        "",
        "no lease",
        "a.b.c",
        "e30.e30.e30",
        "W10.e30.e30",
        SIGNER.sign(b"{}"),
        SIGNER.sign(b"[]"),
        SIGNER.sign(b"\xff"),
        LeaseSigner({"k1": bytes(32)}).sign(rules.encode(rules.draft(RECORD, now=NOW))),
        LeaseSigner({"k9": bytes(32)}).sign(rules.encode(rules.draft(RECORD, now=NOW))),
        SIGNER.sign(rules.encode(msgspec.structs.replace(rules.draft(RECORD, now=NOW), aud="somebody"))),
    ],
)
def test_both_refuse_the_same(token: str) -> None:
    theirs = rules.read(token, KEYS, now=NOW)
    assert lease.read(token, KEYS, now=NOW) == lease.Reading(theirs.code.value)
    assert theirs.terms is None


GOOD: Final = SIGNER.sign(rules.encode(rules.draft(RECORD, now=NOW)))


@given(position=st.integers(0, len(GOOD) - 1), symbol=st.sampled_from("ABab01-_.= "))
def test_no_symbol_can_be_another(position: int, symbol: str) -> None:
    altered = GOOD[:position] + symbol + GOOD[position + 1 :]
    if altered != GOOD:
        assert lease.read(altered, KEYS, now=NOW).terms is None


@pytest.mark.parametrize("change", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}, {"crit": ["b64"]}])
def test_nothing_in_the_header_is_a_choice(change: dict[str, Any]) -> None:
    header = {"alg": "EdDSA", "kid": "k1", "typ": "np-lease+jwt"} | change
    head = msgspec.json.encode(header)
    _, claims, signature = GOOD.split(".")
    token = f"{_b64url(head)}.{claims}.{signature}"
    assert lease.read(token, KEYS, now=NOW).code == "MALFORMED"


def _b64url(raw: bytes) -> str:
    signed = LeaseSigner({"k": bytes(32)}).sign(raw)  # its middle part is `raw`
    return signed.split(".")[1]


def test_the_published_keys_are_read() -> None:
    published = msgspec.json.decode(msgspec.json.encode(JwkSet.of(KEYS)))
    published["keys"].append({"kty": "RSA", "kid": "another kind", "n": "AQAB", "e": "AQAB"})
    assert lease.public_keys(published) == KEYS
