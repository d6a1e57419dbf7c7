"""Coroutines without tasks."""

from typing import Any

import pytest

from core.resp.waiting import (
    Reply,
    Work,
    drive,
    together,
)


class Outcome:
    def __init__(self, work: Work[Any]) -> None:
        self.value: Any = None
        self.fault: Exception | None = None
        drive(work, self._done, self._failed)

    def _done(self, value: Any) -> None:
        self.value = value

    def _failed(self, fault: Exception) -> None:
        self.fault = fault


async def doubled(reply: Reply[int]) -> int:
    return 2 * await reply


def test_work_that_need_not_wait_ends_at_once() -> None:
    reply: Reply[int] = Reply()
    reply.resolve(21)
    assert Outcome(doubled(reply)).value == 42


def test_work_goes_on_when_its_reply_comes() -> None:
    reply: Reply[int] = Reply()
    outcome = Outcome(doubled(reply))
    assert outcome.value is None
    reply.resolve(21)
    assert outcome.value == 42


def test_any_number_may_wait_for_one_reply() -> None:
    reply: Reply[int] = Reply()
    outcomes = [Outcome(doubled(reply)) for _ in range(3)]
    reply.resolve(1)
    assert [outcome.value for outcome in outcomes] == [2, 2, 2]


def test_the_first_value_stands() -> None:
    reply: Reply[int] = Reply()
    reply.resolve(1)
    reply.resolve(2)
    assert reply.value == 1


def test_work_may_wait_many_times() -> None:
    replies: list[Reply[int]] = [Reply() for _ in range(3)]

    async def summed() -> int:
        return sum([await reply for reply in replies])

    outcome = Outcome(summed())
    for number, reply in enumerate(replies):
        assert outcome.value is None
        reply.resolve(number)
    assert outcome.value == 3


def test_a_fault_is_handed_over() -> None:
    reply: Reply[int] = Reply()

    async def crashing() -> None:
        await reply
        raise RuntimeError("on purpose")

    outcome = Outcome(crashing())
    reply.resolve(1)
    assert isinstance(outcome.fault, RuntimeError)


def test_together_begins_all_before_it_waits_for_one() -> None:
    replies: list[Reply[int]] = [Reply() for _ in range(3)]
    outcome = Outcome(together(doubled(reply) for reply in replies))
    for reply in reversed(replies):
        assert len(reply._waiters) == 1
    for number, reply in reversed(list(enumerate(replies))):
        reply.resolve(number)
    assert outcome.value == [0, 2, 4]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_together_fails_as_one(failing: int) -> None:
    async def work(number: int) -> int:
        if number == failing:
            raise RuntimeError(number)
        return number

    fault = Outcome(together(work(number) for number in range(3))).fault
    assert isinstance(fault, RuntimeError)
    assert fault.args == (failing,)
