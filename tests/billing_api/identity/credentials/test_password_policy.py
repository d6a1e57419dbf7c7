"""Password policy: which passwords are accepted, and that a refusal says why and costs little."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn.matching import L33T_TABLE, enumerate_l33t_subs  # type: ignore[import-untyped]

from billing_api.identity.credentials.password_policy import JUDGED, normal, weakness

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
        ("ada.buyer@example.com", "what others know"),
        ("ADA.Buyer@Example.COM", "what others know"),
        ("aaaaaaaaaaaa", "repeats"),
        ("1212121212121212", "repeats"),
        ("AaAaBbBbAaAa", "repeats"),
        ("0123456789", "Sequences"),
        ("1234567890", "top-100"),
        ("9876543210", "Sequences"),
        ("abcdefghijkl", "Sequences"),
        ("ZYXWVUTSRQPO", "Sequences"),
        ("qwertyuiop", "top-100"),
        ("poiuytrewq", "Reversed words"),
        ("1qaz2wsx3edc", "very common"),
        ("password123", "easy to guess"),
        ("Password123!", "easy to guess"),
        ("P@ssw0rd2024", "Predictable substitutions"),
        ("passwordpassword", "Repeats"),
        ("qwerty123456", "easy to guess"),
        ("letmein!!!!", "easy to guess"),
        ("Welcome2026!", "easy to guess"),
        ("NextPanel2026", "what others know"),
        ("nextpanel billing", "what others know"),
        ("Ada Buyer 1990!", "what others know"),
        ("buyer.byron-ada", "what others know"),
        ("analytical-ENGINES-7", "what others know"),
        ("e\u0301" * 5 + "abcd", "10 to 128"),
        ("administrator", "A word by itself"),
    ],
)
def test_a_password_that_is_guessed_first_is_refused_with_a_reason(password: str, reason: str) -> None:
    told = weakness(password, ABOUT)
    assert told is not None
    assert reason in told
    assert not password or password not in told


def test_what_others_know_is_a_part_that_does_not_count() -> None:
    assert weakness("adalovelace1815", ("AdaLovelace1815@example.com",)) is not None
    assert weakness("adalovelace1815", ("bob@example.com",)) is None
    assert weakness("buyer of seven green bicycles", ABOUT) is None
    assert weakness("seven green bicycles", (None, "", "a", "@")) is None


def test_one_spelling_is_judged_like_another() -> None:
    assert weakness("\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff11\uff12\uff13", ()) is not None, "full width"


@given(st.text(max_size=200))
def test_every_text_gets_a_verdict_and_length_is_never_overlooked(password: str) -> None:
    verdict = weakness(password, ABOUT)
    assert verdict is None or password == "" or len(verdict) < 400
    assert 10 <= len(normal(password)) <= 128 or verdict is not None


def test_people_are_not_told_what_is_known_of_others() -> None:
    """The library keeps the facts in a global variable: two users at once must not get each other's."""
    names = [
        f"{first}{last}" for first in ("zanthor", "quibbly", "mxyztplk") for last in ("vekrum", "drolfin", "paxwig")
    ]
    with ThreadPoolExecutor(4) as threads:
        asked = [
            (threads.submit(weakness, f"{name}monkey", (name,)), threads.submit(weakness, f"{name}monkey", ()))
            for name in names * 3
        ]
    assert all(own.result() for own, _ in asked)
    assert not any(others.result() for _, others in asked)


def test_no_password_keeps_a_processor_busy() -> None:
    """The library tries every combination of look-alikes, so there must be few even with all of them in a password."""
    assert len(enumerate_l33t_subs(L33T_TABLE)) <= 12
    assert JUDGED <= 32


def test_what_comes_after_the_first_characters_is_not_looked_at() -> None:
    assert weakness("seven green bicycles for my aunt" + "a" * 96, ()) is None
    assert weakness("password" * 4 + "xK9#mPq2$vL", ()) is not None
