"""Passwords: which are taken, and that a flood of sign-ins meets a bound."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type
from hypothesis import given
from hypothesis import strategies as st

from billing_api.passwords import Passwords, weakness
from core.errors import Unavailable

EMAIL = "ada.buyer@example.com"


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=2)
    yield made
    made.close()


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
    assert weakness(password, email=EMAIL) is None


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
    told = weakness(password, email=EMAIL)
    assert told is not None
    assert reason in told
    assert not password or password not in told


def test_the_name_in_the_address_is_no_password() -> None:
    assert "e-mail" in str(weakness("adalovelace1815", email="AdaLovelace1815@example.com"))


@given(st.text(max_size=200))
def test_every_text_gets_a_verdict_and_length_is_never_overlooked(password: str) -> None:
    verdict = weakness(password, email=EMAIL)
    assert verdict is None or password == "" or len(verdict) < 150
    assert 10 <= len(password) <= 128 or verdict is not None


async def test_a_hash_fits_its_password_and_no_other(passwords: Passwords) -> None:
    stored = await passwords.hash("seven green bicycles")
    assert await passwords.fits("seven green bicycles", stored)
    for other in (
        "seven green bicycle",
        "Seven green bicycles",
        "seven green bicycles ",
        "",
        "seven green bicycles\x00",
    ):
        assert not await passwords.fits(other, stored)
    assert await passwords.hash("seven green bicycles") != stored, "salted"


async def test_a_hash_has_the_costs_that_the_design_asks_for(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash("seven green bicycles"))
    assert (parameters.type, parameters.time_cost, parameters.parallelism) == (Type.ID, 2, 1)
    assert parameters.memory_cost >= 19 * 1024
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_one_keyboard_spells_it_like_another(passwords: Passwords) -> None:
    composed, decomposed = "crème brûlée à deux", "cre\u0300me bru\u0302le\u0301e a\u0300 deux"
    assert composed != decomposed
    assert await passwords.fits(decomposed, await passwords.hash(composed))


async def test_a_hash_of_other_costs_is_outdated(passwords: Passwords) -> None:
    assert not passwords.is_outdated(await passwords.hash("seven green bicycles"))
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8192).hash("seven green bicycles"))


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "\x00"])
async def test_an_unreadable_hash_fits_nothing(passwords: Passwords, stored: str) -> None:
    assert not await passwords.fits("seven green bicycles", stored)


async def test_nobody_costs_as_much_as_somebody(passwords: Passwords) -> None:
    """Processor time, not the clock's: other work on the machine must not decide this."""
    stored = await passwords.hash("seven green bicycles")

    async def cost(password_hash: str | None) -> float:
        began = time.process_time()
        for _ in range(5):
            assert not await passwords.fits("wrong", password_hash)
        return time.process_time() - began

    somebody, nobody = await cost(stored), await cost(None)
    assert 0.5 < nobody / somebody < 2


async def test_beyond_the_queue_a_caller_hears_so_at_once() -> None:
    passwords = Passwords(threads=1, waiting_per_thread=3)
    try:
        crowd = [asyncio.ensure_future(passwords.hash("seven green bicycles")) for _ in range(10)]
        told = await asyncio.gather(*crowd, return_exceptions=True)
        refused = [answer for answer in told if isinstance(answer, Unavailable)]
        assert (len(told) - len(refused), len(refused)) == (4, 6)
        assert {(refusal.status, refusal.retry_after) for refusal in refused} == {(503, 3)}
        assert await passwords.hash("seven green bicycles"), "places are given back"
    finally:
        passwords.close()


async def test_who_hangs_up_frees_no_place_while_his_work_runs() -> None:
    passwords = Passwords(threads=1, waiting_per_thread=0)
    try:
        impatient = asyncio.ensure_future(passwords.hash("seven green bicycles"))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(Unavailable):
            await passwords.hash("seven green bicycles")
        async with asyncio.timeout(10):
            while True:
                try:
                    await passwords.hash("seven green bicycles")
                    break
                except Unavailable:
                    await asyncio.sleep(0.01)
    finally:
        passwords.close()


async def test_the_loop_goes_on_while_passwords_are_hashed(passwords: Passwords) -> None:
    hashing = asyncio.gather(*(passwords.hash("seven green bicycles") for _ in range(8)))
    turns = 0
    while not hashing.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 10
