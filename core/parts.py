"""Watchdog for the parts of a process: each gives heartbeats, and the process ends when one stops.

A part is a loop, a chain of timers, or work that comes and goes. It gives a heartbeat each round, whether the round
succeeded or not: an absent partner is no reason for a restart, a part that hangs is. If a part ends without being told
to, or gives no heartbeat for a minute, the process ends with exit code 70, because supervisors restart only what has
ended. Health tells about each part meanwhile.

    part.beat()      a round begins, or one page of a long round is done
    part.succeeded() a round ended as it should
    part.idle()      there is nothing to do: no heartbeat is expected until the next beat

Code deep within a part's round need not be handed the part: `beat()` of this module finds it by context variable, and
does nothing outside of one. Tasks that a part starts count as the part.

A thread notices silence, for an event loop that hangs cannot. The thread counts only time in which it could run itself:
a process that was stopped as a whole (SIGSTOP, a frozen machine) is not blamed for that time.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from time import monotonic, sleep
from typing import Any, Final

from core.clock import unix_time
from core.telemetry import logger

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""
SILENT_AFTER: Final = 60.0
STEP_WITHIN: Final = 40.0
"""Seconds: longer than the database lets a statement run, shorter than SILENT_AFTER."""
_LOOK_EACH: Final = 1.0
_ENDS_WITHIN: Final = 20.0


class Part:
    """A part. Its methods cost an addition or two, and may be called from any thread."""

    __slots__ = ("beats", "ended", "is_idle", "name", "quiet", "succeeded_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.beats = 0
        self.quiet = 0.0
        """Seconds without a heartbeat, as the watcher has counted them."""
        self.succeeded_at: float | None = None
        """Unix time of the last round that succeeded; None: no round has."""
        self.ended: str | None = None
        """How it ended; None: it still runs."""
        self.is_idle = False

    def beat(self) -> None:
        self.is_idle = False
        self.beats += 1

    def succeeded(self) -> None:
        self.beat()
        self.succeeded_at = unix_time()

    def idle(self) -> None:
        self.is_idle = True

    def end(self, how: str) -> None:
        self.ended = how


_present: ContextVar[Part | None] = ContextVar("part", default=None)


def beat() -> None:
    """A heartbeat of the part that this code runs in."""
    part = _present.get()
    if part is not None:
        part.beat()


def succeeded() -> None:
    """A round of the part that this code runs in has succeeded."""
    part = _present.get()
    if part is not None:
        part.succeeded()


@asynccontextmanager
async def step(within: float = STEP_WITHIN) -> AsyncIterator[None]:
    """A heartbeat, then a block with a time limit of `within` seconds, then a heartbeat. Raises TimeoutError.

    Long rounds are made of such steps, so that a partner that does not answer fails the round before the part seems
    dead.
    """
    beat()
    async with asyncio.timeout(within):
        yield
    beat()


class Parts:
    """All parts of one process."""

    def __init__(self, *, silent_after: float = SILENT_AFTER, ends_within: float = _ENDS_WITHIN) -> None:
        """`ends_within`: seconds for a graceful end after a part has died; then the process ends at once."""
        self._silent_after = silent_after
        self._ends_within = ends_within
        self._parts: dict[str, Part] = {}
        self._tasks: dict[asyncio.Task[Any], Part] = {}
        self._stopping = False
        self._stopped = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._condemned: Callable[[], None] = _end_now
        self._told = False

    def add(self, name: str, *, idle: bool = False) -> Part:
        """A part without a task of its own. `idle`: it has nothing to do yet."""
        part = self._parts[name] = Part(name)
        if idle:
            part.idle()
        return part

    def start(self, name: str, run: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A part that is this task. If the task ends before `stopping`, the part is dead."""
        part = self.add(name)
        context = copy_context()
        context.run(_present.set, part)
        task = asyncio.get_running_loop().create_task(run, name=name, context=context)
        self._tasks[task] = part
        task.add_done_callback(self._ended)
        return task

    def watch(self, condemned: Callable[[], None] | None = None) -> None:
        """Starts. When a part is dead, `condemned` is called once, in this loop; without it the process ends."""
        self._loop = asyncio.get_running_loop()
        if condemned is not None:
            self._condemned = condemned
        _begin(self._look)
        if self.dead:
            self._condemn()

    def stopping(self) -> None:
        """The process is ending: from now on parts may end."""
        self._stopping = True
        self._stopped.set()

    @property
    def tasks(self) -> Sequence[asyncio.Task[Any]]:
        return tuple(self._tasks)

    @property
    def dead(self) -> list[str]:
        return [part.name for part in self._parts.values() if self._is_dead(part)]

    def report(self) -> Mapping[str, Mapping[str, object]]:
        """For health: each part's state, and the unix time of its last round that succeeded."""
        return {name: self._of(part) for name, part in self._parts.items()}

    def _of(self, part: Part) -> Mapping[str, object]:
        if self._is_dead(part):
            state = {"state": "dead", "cause": part.ended or "no heartbeat"}
        else:
            state = {"state": "idle" if part.is_idle else "ok"}
        return {**state, "last_success": part.succeeded_at}

    def _is_dead(self, part: Part) -> bool:
        return part.ended is not None or part.quiet >= self._silent_after

    def _ended(self, task: asyncio.Task[Any]) -> None:
        part = self._tasks[task]
        if self._stopping:
            return
        fault = None if task.cancelled() else task.exception()
        part.end("cancelled" if task.cancelled() else type(fault).__name__ if fault else "returned")
        logger().error("part.died", part=part.name, how=part.ended, exc_info=fault)
        self._condemn()

    def _look(self) -> None:
        """Runs in a thread of its own, until a part is dead."""
        seen: dict[str, int] = {}
        every = min(_LOOK_EACH, self._silent_after / 10)
        last = monotonic()
        while not (self.dead or self._stopped.wait(every)):
            now = monotonic()
            passed, last = min(now - last, 2 * every), now
            for name, part in tuple(self._parts.items()):
                silent = part.beats == seen.get(name) and not part.is_idle
                seen[name] = part.beats
                part.quiet = part.quiet + passed if silent else 0.0
        if self._stopping:
            return
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop is closed: the process is ending
            self._loop.call_soon_threadsafe(self._condemn)
        self._end_late()  # whether the loop runs it or not

    def _condemn(self) -> None:
        if self._told or self._loop is None or self._stopping:
            return
        self._told = True
        logger().error("process.condemned", parts=self.dead)
        _begin(self._end_late)
        self._condemned()

    def _end_late(self) -> None:
        """Ends the process unless it has ended by itself, and this thread with it."""
        sleep(self._ends_within)
        _end_now()


def _begin(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="parts", daemon=True).start()


def _end_now() -> None:
    os._exit(EXIT_CODE)
