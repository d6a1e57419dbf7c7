"""License key: typing errors are forgiven, guesses are refused."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nextpanel_billing_client.key import tidy

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


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: key.replace("-", "\u2013"),
        lambda key: key.replace("-", "\u2014"),
        lambda key: key.replace("-", "\u2010"),
        lambda key: key.replace("-", "\u2011"),
        lambda key: key.replace("-", "\u2212"),
        lambda key: key.replace("-", "\ufe63"),
        lambda key: key.replace("-", " "),
        lambda key: key.replace("-", "\u00a0"),
        lambda key: key.replace("-", "\u202f\u2013\u202f"),
        lambda key: key.replace("-", "-\u200b"),
        lambda key: key + "\u200b",
        lambda key: key.replace("-", "\u2013\ufe0f"),
        lambda key: key.replace("-", "\u2500"),
        lambda key: key.replace("-", "-\U000e0100"),
        lambda key: "\u3164" + key + "\u2800",
        lambda key: key + "\r\n",
        lambda key: "\ufeff" + key,
        lambda key: "\u202a" + key + "\u202c",
        "\u2060".join,
        "\u00ad".join,
        lambda key: "".join(chr(ord(each) + 0xFEE0) for each in key),
    ],
)
def test_a_key_is_read_as_it_is_pasted(spoil: Callable[[str], str]) -> None:
    key = generate(SECRET)
    for text in (key, key.lower()):
        assert parse(spoil(text), SECRET) == key
        assert tidy(spoil(text)) == key


@given(st.text(max_size=70) | st.text(alphabet="NP-0123oil \u2013\u200b", max_size=70))
def test_client_and_service_read_a_key_alike(text: str) -> None:
    read = parse(text, SECRET)
    assert read is None or tidy(text) == read
    assert tidy(tidy(text)) == tidy(text)


def test_what_nobody_means_as_a_key_is_none() -> None:
    key = generate(SECRET)
    for text in (key.replace("-", "_"), key.replace("-", "."), key[:-1] + "\u0301", "\u041d" + key[1:], key + "\0x"):
        assert parse(text, SECRET) is None


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
