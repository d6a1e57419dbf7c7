"""Coroutines without tasks: futures (`Reply`) and a runner (`drive`) for code that waits for Redis.

Code that may wait is a coroutine, so that it reads from top to bottom. It rarely waits for long, and an asyncio Task
with its turn of the loop would cost more than the work. So `drive` runs a coroutine at once, up to its end or its first
unanswered `Reply`, and the Reply continues it when its value comes.

Nothing here can be cancelled, and other code relies on that: a command that was sent will be answered, and an await
that was given up would leave its answer to the next one in the queue. If a client goes away its handler still runs, and
the answer is dropped.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

import structlog

T = TypeVar("T")
A = TypeVar("A")

log = structlog.get_logger()


class Reply(Generic[T]):
    """A future: a value that comes once. Any number of waiters are called, in the order in which they came."""

    __slots__ = ("_value", "_waiters", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._waiters: list[Callable[[], None]] = []

    def resolve(self, value: T) -> None:
        """The first value counts; a later one (of a command that was given up) is dropped."""
        if self.done:
            return
        self.done = True
        self._value = value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            try:
                waiter()
            except Exception:  # the other waiters must be called all the same
                log.exception("waiter.failed")

    @property
    def value(self) -> T:
        """Only once it is `done`."""
        return cast("T", self._value)

    def when_done(self, waiter: Callable[[], None]) -> None:
        if self.done:
            waiter()
        else:
            self._waiters.append(waiter)

    def __await__(self) -> Generator["Reply[Any]", None, T]:
        if not self.done:
            yield self
        return self.value


Work = Coroutine[Reply[Any], None, A]


def drive(work: Work[A], done: Callable[[A], None], failed: Callable[[Exception], None]) -> None:
    """Runs `work`, and calls `done` or `failed` at its end: at once if it never had to wait."""
    try:
        reply = work.send(None)
    except StopIteration as end:
        done(end.value)
    except Exception as fault:  # noqa: BLE001  # an error of one handler must not reach the shared connection
        failed(fault)
    else:
        reply.when_done(lambda: drive(work, done, failed))


async def together(works: Iterable[Work[A]]) -> list[A]:
    """Starts all of them before it waits for the first, so that their commands leave in one write."""
    ends: list[Reply[A | Exception]] = []
    for work in works:
        end: Reply[A | Exception] = Reply()
        drive(work, end.resolve, end.resolve)
        ends.append(end)
    values: list[A] = []
    for end in ends:
        value = await end
        if isinstance(value, Exception):
            raise value
        values.append(value)
    return values
