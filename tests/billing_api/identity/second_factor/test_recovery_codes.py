"""Recovery codes: random, and the same code in every spelling."""

import re

import pytest

from billing_api.identity.second_factor import recovery_codes
from core.crypto.sealing import KeyedHash
from core.ids import new_id

KEYED = KeyedHash(bytes(range(32)))
ADA = new_id()
CODE = "K7QW-3F9D-M0XA-81TC"


def test_ten_that_nobody_has_seen() -> None:
    drawn = [code for _ in range(50) for code in recovery_codes.new_set()]
    assert len(set(drawn)) == len(drawn) == 500
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", code) for code in drawn)


@pytest.mark.parametrize(
    "written", [CODE.lower(), CODE.replace("-", ""), f" {CODE} ", CODE.replace("-", " "), "k7qw-3f9d-mOxa-8ltc"]
)
def test_a_person_may_write_it_as_he_likes(written: str) -> None:
    assert recovery_codes.stored_hash(written, ADA, KEYED) == recovery_codes.stored_hash(CODE, ADA, KEYED)


def test_it_is_kept_as_a_hash_that_another_account_or_key_does_not_share() -> None:
    kept = recovery_codes.stored_hash(CODE, ADA, KEYED)
    assert len(kept) == 32
    assert kept != recovery_codes.stored_hash(CODE, new_id(), KEYED)
    assert kept != recovery_codes.stored_hash(CODE, ADA, KeyedHash(bytes(range(1, 33))))
    assert kept != recovery_codes.stored_hash(CODE[:-1] + "D", ADA, KEYED)
