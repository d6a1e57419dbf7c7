"""Group commit: work is shared when it comes together, divided when it fails, refused when it is too much."""

import asyncio
from collections.abc import Sequence

import pytest

from billing_api.licensing.usage.batch_gathering import (
    MOST_TOGETHER,
    MOST_WAITING,
    Batches,
)
from core.errors import Unavailable
from core.parts import Part


class Poison(Exception):
    pass


class Away(Exception):
    pass


class Work:
    """Doubles numbers; 13 always fails, and while `away` everything does. `gate` stops a batch in the middle.

    `short` and `cancelled` are faults that nobody foresaw.
    """

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.away = False
        self.short = False
        self.cancelled = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.part = Part("batches")
        self.batches: Batches[int, int] = Batches(
            self.perform, is_absence=lambda failure: isinstance(failure, Away), part=self.part
        )

    async def perform(self, items: Sequence[int]) -> Sequence[int]:
        await self.gate.wait()
        if self.away:
            raise Away
        if self.cancelled:
            waited_for = asyncio.get_running_loop().create_future()
            waited_for.cancel()
            await waited_for
        if self.short:
            return []
        if 13 in items:
            raise Poison
        self.done.append(list(items))
        return [item * 2 for item in items]


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_one_alone_waits_for_nobody(work: Work) -> None:
    assert await work.batches.add([1]) == [2]
    assert work.done == [[1]]


async def test_what_comes_during_a_batch_makes_up_the_next(work: Work) -> None:
    work.gate.clear()
    first = asyncio.create_task(work.batches.add([0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(work.batches.add([number, -number])) for number in range(1, 6)]
    await asyncio.sleep(0)
    work.gate.set()
    assert await first == [0]
    assert await asyncio.gather(*others) == [[number * 2, -number * 2] for number in range(1, 6)]
    assert [len(batch) for batch in work.done] == [1, 10]


async def test_poison_harms_nobody_but_itself(work: Work) -> None:
    outcomes = await work.batches.add([1, 2, 13, 4, 5])
    assert [*outcomes[:2], *outcomes[3:]] == [2, 4, 8, 10]
    assert isinstance(outcomes[2], Poison)
    assert sorted(item for batch in work.done for item in batch) == [1, 2, 4, 5]


async def test_an_absence_is_told_to_all_and_tried_once(work: Work) -> None:
    work.away = True
    assert all(isinstance(outcome, Away) for outcome in await work.batches.add([1, 2, 3]))
    work.away = False
    assert await work.batches.add([1]) == [2]


async def test_one_caller_s_items_stay_together_and_a_batch_is_bounded(work: Work) -> None:
    work.gate.clear()
    size = MOST_TOGETHER * 2 // 5
    callers = [asyncio.create_task(work.batches.add(list(range(100, 100 + size)))) for _ in range(5)]
    await asyncio.sleep(0)
    work.gate.set()
    await asyncio.gather(*callers)
    assert [len(batch) for batch in work.done] == [2 * size, 2 * size, size]


async def test_too_much_is_refused_and_nothing_of_it_is_done(work: Work) -> None:
    work.gate.clear()
    waiting = asyncio.create_task(work.batches.add([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    many = asyncio.create_task(work.batches.add([1] * MOST_WAITING))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await work.batches.add([7])
    work.gate.set()
    await asyncio.gather(waiting, many)
    assert not any(7 in batch for batch in work.done)


async def test_a_caller_that_goes_away_leaves_its_items_to_be_done(work: Work) -> None:
    work.gate.clear()
    gone = asyncio.create_task(work.batches.add([1]))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    work.gate.set()
    assert await work.batches.add([2]) == [4]
    await work.batches.close()
    assert [1] in work.done


async def test_an_unforeseen_fault_is_told_to_who_waits_and_the_next_batch_is_done(work: Work) -> None:
    work.short = True
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(work.batches.add([1]), 5)
    work.short = False
    work.cancelled = True
    with pytest.raises(Unavailable):
        await asyncio.wait_for(work.batches.add([1]), 5)
    work.cancelled = False
    assert await work.batches.add([1]) == [2]
    assert work.part.ended is None


async def test_it_gives_a_heartbeat_with_each_batch_and_rests_in_between(work: Work) -> None:
    await work.batches.add([1])
    await work.batches.close()
    await asyncio.sleep(0)
    beats = work.part.beats
    assert work.part.is_idle
    assert work.part.succeeded_at is not None
    work.gate.clear()
    waiting = asyncio.create_task(work.batches.add([2]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not work.part.is_idle
    assert work.part.beats > beats
    work.gate.set()
    await waiting
