"""Waiting for Redis without tasks.

What may have to wait is a coroutine, so that it reads from top to bottom; but it rarely waits for long, and an asyncio
Task with its trip through the loop would cost more than its work. So `drive` runs a coroutine at once, up to its end or
its first unanswered `Reply`, and the Reply takes it further when its value comes.

Nothing here can be cancelled, and that is a promise: a command that has been sent will be answered, and an await that
was given up would leave its answer to the next one in the queue. A client that goes away does not stop a handler; its
answer is dropped.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

import structlog

T = TypeVar("T")
A = TypeVar("A")

log = structlog.get_logger()


class Reply(Generic[T]):
    """A value that comes once. Any number may wait for it, in the order they came."""

    __slots__ = ("_value", "_waiters", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._waiters: list[Callable[[], None]] = []

    def resolve(self, value: T) -> None:
        """The first value stands; a late one (a command that had been given up) is dropped."""
        if self.done:
            return
        self.done = True
        self._value = value
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            try:
                waiter()
            except Exception:  # its fault must not leave the others waiting for ever
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
    """Runs `work`; calls one of the two in the end, at once where it never had to wait."""
    try:
        reply = work.send(None)
    except StopIteration as end:
        done(end.value)
    except Exception as fault:  # noqa: BLE001  # a fault of one handler must not reach the connection it shares
        failed(fault)
    else:
        reply.when_done(lambda: drive(work, done, failed))


async def together(works: Iterable[Work[A]]) -> list[A]:
    """All of them begun before the first is waited for, so that their commands leave in one write."""
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
