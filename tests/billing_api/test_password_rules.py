"""Which passwords are taken, and that refusing one tells why and costs little."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn.matching import L33T_TABLE, enumerate_l33t_subs  # type: ignore[import-untyped]

from billing_api.password_rules import JUDGED, weakness

ABOUT = ("ada.buyer@example.com", "Ada Byron Buyer", "Analytical Engines & Sons")


@pytest.mark.parametrize(
    "password",
    [
        "seven green bicycles",
        "correct horse battery staple 42",
        "xK9#mPq2$vL",
        "пароль-из-трёх слов",
        "王小明喜歡吃蘋果和香蕉",
        "the password of my aunt",
        "p" * 5 + "assword was taken",
        "abcdefghi and then some",
        " leading and trailing ",
        "x9" * 3 + "qyw!" * 30,
    ],
)
def test_a_password_that_is_long_and_not_worn_is_taken(password: str) -> None:
    assert weakness(password, ABOUT) is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "10 to 128"),
        ("ninechars", "10 to 128"),
        ("a1b2c3d4e5" * 13, "10 to 128"),
        ("ada.buyer@example.com", "e-mail"),
        ("ADA.Buyer@Example.COM", "e-mail"),
        ("aaaaaaaaaaaa", "repeats"),
        ("1212121212121212", "repeats"),
        ("AaAaBbBbAaAa", "repeats"),
        ("0123456789", "run"),
        ("1234567890", "run"),
        ("9876543210", "run"),
        ("abcdefghijkl", "run"),
        ("ZYXWVUTSRQPO", "run"),
        ("qwertyuiop", "run"),
        ("poiuytrewq", "run"),
        ("1qaz2wsx3edc", "run"),
        ("password123", "guessed first"),
        ("Password123!", "guessed first"),
        ("P@ssw0rd2024", "guessed first"),
        ("passwordpassword", "guessed first"),
        ("qwerty123456", "guessed first"),
        ("letmein!!!!", "guessed first"),
        ("Welcome2026!", "guessed first"),
        ("NextPanel2026", "guessed first"),
        ("administrator", "guessed first"),
    ],
)
def test_a_password_that_is_guessed_first_is_refused_with_a_reason(password: str, reason: str) -> None:
    told = weakness(password, ABOUT)
    assert told is not None
    assert reason in told
    assert not password or password not in told


def test_the_name_in_the_address_is_no_password() -> None:
    assert "e-mail" in str(weakness("adalovelace1815", email="AdaLovelace1815@example.com"))


@given(st.text(max_size=200))
def test_every_text_gets_a_verdict_and_length_is_never_overlooked(password: str) -> None:
    verdict = weakness(password, ABOUT)
    assert verdict is None or password == "" or len(verdict) < 150
    assert 10 <= len(password) <= 128 or verdict is not None


