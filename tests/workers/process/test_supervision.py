"""Supervision: parts are started again, and loops are woken."""

import asyncio
import time

import pytest
from typing_extensions import override

from core.errors import Unavailable
from workers.process.supervision import (
    Wakeup,
    end,
    keep_running,
)


@pytest.mark.parametrize("failure", [ConnectionResetError(), Unavailable("away"), ValueError("ours"), None])
async def test_a_part_that_ends_is_started_again(failure: Exception | None) -> None:
    starts: list[float] = []
    enough = asyncio.Event()

    async def part() -> None:
        starts.append(time.monotonic())
        if len(starts) == 4:
            enough.set()
            await asyncio.Event().wait()
        if failure is not None:
            raise failure

    task = asyncio.create_task(keep_running("part", part))
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert starts[3] - starts[2] >= 0.2  # the pause has doubled twice, and half of it is chance


async def test_what_a_part_waited_for_may_be_cancelled_without_ending_it() -> None:
    """A cancellation that nobody asked this part for is a failure of its round."""
    runs = 0
    enough = asyncio.Event()

    async def part() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()
            await asyncio.Event().wait()
        waiting = asyncio.get_running_loop().create_future()
        waiting.cancel()
        await waiting

    task = asyncio.create_task(keep_running("part", part))
    await asyncio.wait_for(enough.wait(), 5)
    await end([task])
    assert task.cancelled()


async def test_a_failure_that_cannot_say_what_it_is_ends_nothing() -> None:
    class Unspeakable(OSError):
        @override
        def __str__(self) -> str:
            raise RuntimeError("inside")

    runs = 0
    enough = asyncio.Event()

    async def part() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            enough.set()
            await asyncio.Event().wait()
        raise Unspeakable

    task = asyncio.create_task(keep_running("part", part))
    await asyncio.wait_for(enough.wait(), 5)
    await end([task])


async def test_a_ring_during_the_work_is_not_lost() -> None:
    wakeup = Wakeup()
    wakeup.wake()
    await asyncio.wait_for(wakeup.wait(30), 1)
    wakeup.wake()  # during the work
    await asyncio.wait_for(wakeup.wait(30), 1)
    began = time.monotonic()
    await wakeup.wait(0.05)  # nobody woke it: it returns all the same
    assert time.monotonic() - began >= 0.04


async def test_a_part_that_did_not_hear_it_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.process.supervision._ENDS_WITHIN", 0.05)
    heard = 0

    async def stubborn() -> None:
        nonlocal heard
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard += 1
        await asyncio.Event().wait()

    async def ordinary() -> None:
        await asyncio.Event().wait()

    parts = [asyncio.create_task(stubborn()), asyncio.create_task(ordinary())]
    await asyncio.sleep(0)
    await asyncio.wait_for(end(parts), 5)
    assert heard == 1
    assert all(part.cancelled() for part in parts)


async def test_a_part_may_finish_what_it_is_at() -> None:
    finished = False

    async def part() -> None:
        nonlocal finished
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            finished = True

    task = asyncio.create_task(part())
    await asyncio.sleep(0)
    await end([task])
    assert finished
