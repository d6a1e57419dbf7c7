"""Group commit: many small pieces of work share one transaction, and each caller waits for its COMMIT.

Items that come while a batch is being performed form the next batch. If the last batch had several callers, the next
one waits a moment for more: the more callers, the longer. So a single report does not wait, and under load many reports
share a COMMIT.

If a batch fails, it is divided and its halves are performed, until the failing item is alone. So a bad item fails
without the others. If the database is unavailable, the whole batch fails at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from core.errors import Unavailable
from core.parts import Part
from core.telemetry import logger

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

_GATHERING: Final = 0.001
"""Seconds for each caller of the last batch."""
_LONGEST_GATHERING: Final = 0.01
MOST_TOGETHER: Final = 2000
MOST_WAITING: Final = 20_000
"""Items; with more, clients would have timed out before their answers."""


class _Part(Generic[ItemT, OutcomeT]):
    """The items of one caller, and the future of their outcomes."""

    __slots__ = ("items", "outcomes")

    def __init__(self, items: Sequence[ItemT]) -> None:
        self.items = items
        self.outcomes: asyncio.Future[Sequence[OutcomeT | Exception]] = asyncio.get_running_loop().create_future()


class Batches(Generic[ItemT, OutcomeT]):
    def __init__(
        self,
        perform: Callable[[Sequence[ItemT]], Awaitable[Sequence[OutcomeT]]],
        *,
        is_absence: Callable[[Exception], bool],
        part: Part | None = None,
    ) -> None:
        """`perform`: all or nothing, one outcome for each item. `is_absence`: whether a failure means an absent server.

        `part` is idle while no caller waits, and gives a heartbeat with each batch.
        """
        self._part = part or Part("batches")
        self._perform = perform
        self._is_absence = is_absence
        self._waiting: deque[_Part[ItemT, OutcomeT]] = deque()
        self._number = 0
        self._work: asyncio.Task[None] | None = None

    async def add(self, items: Sequence[ItemT]) -> Sequence[OutcomeT | Exception]:
        """The outcomes, in order, with an exception in place of an item that failed.

        If the caller is cancelled, its items are still performed: they may be on their way already.
        """
        if not items:
            return ()
        if self._number + len(items) > MOST_WAITING:
            raise Unavailable("too many reports are waiting; try again in a moment")
        part: _Part[ItemT, OutcomeT] = _Part(items)
        self._waiting.append(part)
        self._number += len(items)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._go_on())
            self._work.add_done_callback(self._ended)
        return await part.outcomes

    async def close(self) -> None:
        """Waits for the batches that are waiting or being performed."""
        if self._work is not None:
            await self._work

    async def _go_on(self) -> None:
        parts: list[_Part[ItemT, OutcomeT]] = []
        while self._waiting:
            if len(parts) > 1:
                await asyncio.sleep(min(len(parts) * _GATHERING, _LONGEST_GATHERING))
            parts = self._next()
            try:
                await self._perform_for(parts)
            except BaseException as failure:  # every caller of this batch must get an outcome
                _fail(parts, failure)
                if not isinstance(failure, Exception) and _is_asked_to_end():
                    raise
                logger().exception("batch.failed")
            else:
                self._part.succeeded()

    async def _perform_for(self, parts: Sequence[_Part[ItemT, OutcomeT]]) -> None:
        items = [item for part in parts for item in part.items]
        outcomes = await self._divide(items)
        if len(outcomes) != len(items):
            raise RuntimeError(f"outcomes: {len(outcomes)}, items: {len(items)}")
        left = iter(outcomes)
        for part in parts:
            mine = [next(left) for _ in part.items]
            if not part.outcomes.done():
                part.outcomes.set_result(mine)

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Marks the part as idle; or as ended, if the task was cancelled from outside or failed."""
        self._part.idle()
        if work.cancelled() or work.exception() is not None:
            self._part.end("cancelled" if work.cancelled() else type(work.exception()).__name__)

    def _next(self) -> list[_Part[ItemT, OutcomeT]]:
        """As many parts as fit into one batch. The items of one caller are never split."""
        parts: list[_Part[ItemT, OutcomeT]] = []
        number = 0
        while self._waiting and (not parts or number + len(self._waiting[0].items) <= MOST_TOGETHER):
            part = self._waiting.popleft()
            parts.append(part)
            number += len(part.items)
        self._number -= number
        return parts

    async def _divide(self, items: Sequence[ItemT]) -> Sequence[OutcomeT | Exception]:
        self._part.beat()
        try:
            outcomes = await self._perform(items)
        except Exception as failure:  # noqa: BLE001  it becomes the item's outcome
            if len(items) == 1 or self._is_absence(failure):
                return [failure] * len(items)
            middle = len(items) // 2
            return [*await self._divide(items[:middle]), *await self._divide(items[middle:])]
        return outcomes


def _fail(parts: Sequence[_Part[ItemT, OutcomeT]], failure: BaseException) -> None:
    told = failure if isinstance(failure, Exception) else Unavailable("reports cannot be recorded now; try again later")
    for part in parts:
        if not part.outcomes.done():
            part.outcomes.set_exception(told)


def _is_asked_to_end() -> bool:
    """Whether this task itself is being cancelled. Otherwise something that it awaited was cancelled."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
