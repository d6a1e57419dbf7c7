"""Argon2id: how passwords are stored, and that a flood of sign-ins meets a full queue."""

import asyncio
import os
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from billing_api.identity.credentials.password_hashing import Passwords
from core.errors import Unavailable


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=2)
    yield made
    made.close()


async def test_a_hash_fits_its_password_and_no_other(passwords: Passwords) -> None:
    stored = await passwords.hash("seven green bicycles")
    assert await passwords.verify("seven green bicycles", stored)
    for other in (
        "seven green bicycle",
        "Seven green bicycles",
        "seven green bicycles ",
        "",
        "seven green bicycles\x00",
    ):
        assert not await passwords.verify(other, stored)
    assert await passwords.hash("seven green bicycles") != stored, "salted"


async def test_a_hash_has_the_costs_that_the_design_asks_for(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash("seven green bicycles"))
    assert (parameters.type, parameters.time_cost, parameters.parallelism) == (Type.ID, 2, 1)
    assert parameters.memory_cost >= 19 * 1024
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_one_keyboard_spells_it_like_another(passwords: Passwords) -> None:
    composed, decomposed = "crème brûlée à deux", "cre\u0300me bru\u0302le\u0301e a\u0300 deux"
    assert composed != decomposed
    assert await passwords.verify(decomposed, await passwords.hash(composed))


async def test_a_hash_of_other_costs_is_outdated(passwords: Passwords) -> None:
    assert not passwords.is_outdated(await passwords.hash("seven green bicycles"))
    assert passwords.is_outdated(PasswordHasher(time_cost=1, memory_cost=8192).hash("seven green bicycles"))


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv", "\x00"])
async def test_an_unreadable_hash_fits_nothing(passwords: Passwords, stored: str) -> None:
    assert not await passwords.verify("seven green bicycles", stored)


async def test_an_account_without_a_password_costs_as_much_as_one_with_it(passwords: Passwords) -> None:
    """After an undo the user has no password until they choose one. Others must not notice."""
    verified: list[str] = []
    real = passwords._hasher

    class Watched:
        def verify(self, password_hash: str, password: str) -> bool:
            verified.append(password_hash)
            return real.verify(password_hash, password)

    with passwords.slot() as slot:
        slot._hasher = Watched()  # type: ignore[assignment]
        assert not await slot.verify("seven green bicycles", "!")
    assert verified[-1].startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_processes_share_the_cores() -> None:
    for processes in (1, 2, 1000):
        shared = Passwords.shared_by(processes)
        try:
            assert shared._threads._max_workers == max(1, (os.cpu_count() or 1) // processes)
        finally:
            shared.close()


async def test_a_turn_is_one_place_for_one_thing_after_another() -> None:
    passwords = Passwords(threads=1, waiting_per_thread=0)
    try:
        with passwords.slot() as slot:
            assert await slot.weakness("seven green bicycles", ()) is None
            stored = await slot.hash("seven green bicycles")
            assert await slot.verify("seven green bicycles", stored)
            with pytest.raises(Unavailable), passwords.slot():
                pass
        assert await passwords.verify("seven green bicycles", stored), "given back"
    finally:
        passwords.close()


async def test_nobody_costs_as_much_as_somebody(passwords: Passwords) -> None:
    """Measures processor time, so that other work on the machine does not decide the result."""
    stored = await passwords.hash("seven green bicycles")

    async def cost(password_hash: str | None) -> float:
        began = time.process_time()
        for _ in range(5):
            assert not await passwords.verify("wrong", password_hash)
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
