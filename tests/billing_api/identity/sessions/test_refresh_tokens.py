"""Refresh tokens: their form, their order, and the state of a presented one within its family."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from billing_api.identity.sessions.refresh_tokens import (
    GRACE,
    LIFETIME,
    TokenStanding,
    first,
    is_genuine,
    session_id,
    standing,
    stored_hash,
    successor,
)
from core.crypto.sealing import KEY_BYTES, KeyedHash
from core.ids import new_id
from db.models.identity import Session

KEYED: Final = KeyedHash(bytes(range(KEY_BYTES)))
NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLDER, PREVIOUS, NEWEST, FOREIGN = b"older", b"previous", b"newest", b"foreign"


def a_session(**changes: Any) -> Session:
    facts: dict[str, Any] = {
        "refresh_hash": NEWEST,
        "previous_hash": PREVIOUS,
        "rotated_at": NOW,
        "expires_at": NOW + LIFETIME,
        "revoked_at": None,
    }
    return Session(**facts | changes)


@pytest.mark.parametrize(
    ("token_hash", "after", "expected"),
    [
        (NEWEST, timedelta(0), TokenStanding.CURRENT),
        (NEWEST, LIFETIME - timedelta(microseconds=1), TokenStanding.CURRENT),
        (NEWEST, LIFETIME, TokenStanding.OVER),
        (PREVIOUS, timedelta(0), TokenStanding.JUST_REPLACED),
        (PREVIOUS, GRACE, TokenStanding.JUST_REPLACED),
        (PREVIOUS, GRACE + timedelta(microseconds=1), TokenStanding.COPIED),
        (PREVIOUS, LIFETIME, TokenStanding.OVER),
        (OLDER, timedelta(0), TokenStanding.COPIED),
        (FOREIGN, timedelta(0), TokenStanding.FOREIGN),
        (FOREIGN, LIFETIME, TokenStanding.OVER),
    ],
)
def test_what_a_token_is_to_its_family(token_hash: bytes, after: timedelta, expected: TokenStanding) -> None:
    assert standing(a_session(), token_hash, NOW + after, genuine=token_hash is not FOREIGN) is expected


@pytest.mark.parametrize("token_hash", [NEWEST, PREVIOUS, OLDER])
def test_a_family_that_has_ended_stays_ended(token_hash: bytes) -> None:
    assert standing(a_session(revoked_at=NOW), token_hash, NOW, genuine=True) is TokenStanding.OVER


def test_a_family_that_never_rotated_has_no_previous_token() -> None:
    fresh = a_session(previous_hash=None)
    assert standing(fresh, NEWEST, NOW, genuine=True) is TokenStanding.CURRENT
    assert standing(fresh, b"", NOW, genuine=False) is TokenStanding.FOREIGN


def test_a_token_from_before_there_were_seals_counts_for_its_turn_and_is_missed_afterwards() -> None:
    for token_hash, expected in ((NEWEST, TokenStanding.CURRENT), (PREVIOUS, TokenStanding.JUST_REPLACED)):
        assert standing(a_session(), token_hash, NOW, genuine=False) is expected
    assert standing(a_session(), PREVIOUS, NOW + timedelta(minutes=1), genuine=False) is TokenStanding.COPIED


def test_a_token_of_the_family_is_told_from_one_that_was_made_up() -> None:
    token = first(new_id(), KEYED)
    for _ in range(3):
        assert is_genuine(token, KEYED)
        assert not is_genuine(token, KeyedHash(bytes(KEY_BYTES)))
        for at in (0, 31, 33, 54, 75):
            changed = token[:at] + ("1" if token[at] != "1" else "2") + token[at + 1 :]
            assert not is_genuine(changed, KEYED), at
        token = successor(token, KEYED)


def test_the_last_symbol_has_one_spelling() -> None:
    token = first(new_id(), KEYED)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [is_genuine(token[:-1] + symbol, KEYED) for symbol in alphabet].count(True) == 1


def test_every_token_of_a_family_names_it() -> None:
    family = new_id()
    token = first(family, KEYED)
    for _ in range(3):
        assert session_id(token) == family
        assert len(token) == 32 + 1 + 43
        token = successor(token, KEYED)


def test_a_successor_follows_from_its_token_and_the_servers_key_alone() -> None:
    token = first(new_id(), KEYED)
    assert successor(token, KEYED) == successor(token, KEYED)
    assert successor(token, KEYED) != successor(token, KeyedHash(bytes(KEY_BYTES)))
    assert successor(token, KEYED) != successor(first(new_id(), KEYED), KEYED)
    assert successor(token, KEYED) != token


def test_first_tokens_are_random_and_their_hashes_tell_nothing_of_the_successor() -> None:
    family = new_id()
    assert first(family, KEYED) != first(family, KEYED)
    token = first(family, KEYED)
    following = successor(token, KEYED)
    assert stored_hash(token, KEYED) != stored_hash(following, KEYED)
    assert stored_hash(token, KEYED).hex() not in following
    assert stored_hash(token, KEYED) != KEYED.digest("refresh_successor", token)


ID, SECRET = "0" * 32, "A" * 43


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "x",
        ID,
        f"{ID}.",
        f".{SECRET}",
        f"{ID[1:]}.{SECRET}",
        f"{ID}.{SECRET[1:]}",
        f"{ID}.{SECRET}A",
        f"{ID}.{SECRET}\n",
        f"{ID}.{'=' * 43}",
        f"{'G' * 32}.{SECRET}",
        f"{'٠' * 32}.{SECRET}",
    ],
)
def test_what_has_not_the_form_of_a_token_names_no_family(text: str) -> None:
    assert session_id(text) is None
