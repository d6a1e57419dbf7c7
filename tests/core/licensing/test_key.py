"""The licence key: typed by people, guessed by strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.licensing.key import ALPHABET, generate, parse

SECRET = bytes(range(32))


def test_a_generated_key_reads_back() -> None:
    for _ in range(500):
        key = generate(SECRET)
        assert parse(key, SECRET) == key
        assert len(key) == 17
        assert key.startswith("NP-")


def test_case_dashes_and_lookalikes_are_forgiven() -> None:
    for key in (generate(SECRET) for _ in range(200)):
        symbols = key[3:]
        misread = "NP-" + symbols.replace("0", "O").replace("1", "l")
        for text in (key.lower(), key.replace("-", ""), f"  {key}\n", misread, misread.replace("l", "i").lower()):
            assert parse(text, SECRET) == key


def test_every_wrong_last_symbol_is_refused() -> None:
    key = generate(SECRET)
    others = [key[:-1] + symbol for symbol in ALPHABET if symbol != key[-1]]
    assert [parse(other, SECRET) for other in others] == [None] * 31


def test_a_guess_is_right_once_in_32() -> None:
    symbols = [f"NP-{n:012d}"[:15] for n in range(6400)]
    hits = sum(parse(symbol, SECRET) is not None for symbol in symbols)
    assert 120 < hits < 290


def test_the_checksum_is_keyed() -> None:
    keys = [generate(SECRET) for _ in range(200)]
    assert sum(parse(key, bytes(32)) is not None for key in keys) < 30


@given(st.text(max_size=60))
def test_no_text_crashes_it(text: str) -> None:
    read = parse(text, SECRET)
    assert read is None or parse(read, SECRET) == read


@pytest.mark.parametrize(
    "text", ["", "NP-", "NP-0000-0000", "XX-0000-0000-0000", "NP-UUUU-UUUU-UUUU", "NP-0000-0000-0000-0000", "N" * 10**6]
)
def test_what_has_not_the_form_is_refused(text: str) -> None:
    assert parse(text, SECRET) is None
