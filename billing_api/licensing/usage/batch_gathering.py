"""Batching: many small pieces of work in one transaction, whose callers wait for its COMMIT.

Whatever comes while one batch is under way makes up the next one, and where several came the next one waits a moment
for more: the longer, the more there were. So a lone report waits for nobody, and the more there are, the more share a
COMMIT.

A batch that fails is divided, and its halves tried, until what was wrong stands alone: it harms nobody but itself. Not
so where the database is away: then all of it failed, and each is told so.
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
"""Seconds for each of those who shared the last batch."""
_LONGEST_GATHERING: Final = 0.01
MOST_TOGETHER: Final = 2000
MOST_WAITING: Final = 20_000
"""Items; more than that would be answered after their senders have gone."""


class _Part(Generic[ItemT, OutcomeT]):
    """What one caller has brought, and where it waits for the outcomes."""

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
        """`perform`: all or nothing, one outcome an item. `is_absence`: whether a failure was nobody's fault here.

        `part` rests while nobody waits, and gives a heartbeat with each batch.
        """
        self._part = part or Part("batches")
        self._perform = perform
        self._is_absence = is_absence
        self._waiting: deque[_Part[ItemT, OutcomeT]] = deque()
        self._number = 0
        self._work: asyncio.Task[None] | None = None

    async def add(self, items: Sequence[ItemT]) -> Sequence[OutcomeT | Exception]:
        """The outcomes, in order; an exception in the place of an item that could not be done.

        A caller that is cancelled leaves its items: they may be on their way already.
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
        """Waits for what is under way."""
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
            except BaseException as failure:  # nobody who waits for this batch may be left waiting
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
            raise RuntimeError(f"{len(outcomes)} outcomes of {len(items)} items")
        left = iter(outcomes)
        for part in parts:
            mine = [next(left) for _ in part.items]
            if not part.outcomes.done():
                part.outcomes.set_result(mine)

    def _ended(self, work: asyncio.Task[None]) -> None:
        """Nobody waits any more; or it was ended, which nothing here does."""
        self._part.idle()
        if work.cancelled() or work.exception() is not None:
            self._part.end("cancelled" if work.cancelled() else type(work.exception()).__name__)

    def _next(self) -> list[_Part[ItemT, OutcomeT]]:
        """As many as fit together, one caller's never torn apart."""
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
        except Exception as failure:  # noqa: BLE001  the caller of each item is told
            if len(items) == 1 or self._is_absence(failure):
                return [failure] * len(items)
            middle = len(items) // 2
            return [*await self._divide(items[:middle]), *await self._divide(items[middle:])]
        return outcomes


def _fail(parts: Sequence[_Part[ItemT, OutcomeT]], failure: BaseException) -> None:
    told = failure if isinstance(failure, Exception) else Unavailable("reports cannot be recorded now; send them again")
    for part in parts:
        if not part.outcomes.done():
            part.outcomes.set_exception(told)


def _is_asked_to_end() -> bool:
    """Or something that was waited for has been cancelled by somebody else."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
