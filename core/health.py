"""What a process tells of itself and of the servers that it shares: three questions, and none answers for another.

    /health/live           is this process to be restarted?       503: a part of it is dead, or silent for a minute
    /health/ready          may it be sent requests?               503 in three cases only, see `Lack`
    /health/dependencies   which shared servers do not serve?     200 always; the body tells

Readiness is latched. A server that all processes share is away from all of them at once: were each to say "not ready"
then, a load balancer would take every one of them out, together with all the answers that need no server. So a process
is not ready until it has once reached what its duty needs; whatever shared servers do later is told by their state.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from time import monotonic
from typing import Any, Final

import msgspec


class Dependency(StrEnum):
    """The state of a server that processes share."""

    OK = "ok"
    SILENT = "silent"
    """It does not answer in time, or cannot be reached."""
    READ_ONLY = "read_only"
    """It refuses writes: a replica, or demoted (READONLY; SQLSTATE 25006)."""
    LOADING = "loading"
    """It is starting, was emptied, or has not been filled or confirmed yet."""
    UNFIT = "unfit"
    """It answers, and must not be relied on: it evicts keys, is full, or takes no more connections."""


class Dependencies(msgspec.Struct, frozen=True):
    """The answer of /health/dependencies."""

    status: str
    """`ok` or `degraded`."""
    lacking: Sequence[str]
    """Those that are not `ok`, by name."""
    dependencies: Mapping[str, Dependency]

    @classmethod
    def of(cls, states: Mapping[str, Dependency]) -> "Dependencies":
        lacking = [name for name, state in states.items() if state is not Dependency.OK]
        return cls("degraded" if lacking else "ok", lacking, dict(states))


class Lack(StrEnum):
    """Why a process is not ready. There is no fourth reason."""

    NOT_YET = "not_yet"
    """It has not once, since its start, reached what its duty needs."""
    DEAD_PART = "dead_part"
    """A part of its own is dead, or has given no heartbeat for a minute."""
    DRAINING = "draining"
    """It was asked to stop, and finishes what is under way."""


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer of /health/ready."""

    status: str
    """`ok` or `unavailable`."""
    reason: Lack | None = None
    lacking: Sequence[str] = ()
    """Not yet: what has not been reached. Dead part: its name."""

    @property
    def ok(self) -> bool:
        return self.reason is None


READY: Final = Ready("ok")


class Readiness:
    """One for each process. `dead`: names of its parts that are dead or silent."""

    def __init__(self, dead: Callable[[], Sequence[str]] = tuple) -> None:
        self._dead = dead
        self._reached = False
        self._draining = False

    @property
    def reached(self) -> bool:
        """It has been able to do its duty, once."""
        return self._reached

    @property
    def draining(self) -> bool:
        return self._draining

    def reach(self) -> None:
        """What the duty needs was met just now. It counts until the process ends."""
        self._reached = True

    def drain(self) -> None:
        """Say that the process was asked to stop: not ready from now on; what comes is served all the same."""
        self._draining = True

    @property
    def lack(self) -> Lack | None:
        """None: ready."""
        if self._draining:
            return Lack.DRAINING
        if self._dead():
            return Lack.DEAD_PART
        return None if self._reached else Lack.NOT_YET

    def told(self, missing: Sequence[str] = ()) -> Ready:
        """`missing`: what the duty still needs, for a process that is not ready yet."""
        lack = self.lack
        if lack is None:
            return READY
        lacking = {Lack.NOT_YET: missing, Lack.DEAD_PART: self._dead(), Lack.DRAINING: ()}[lack]
        return Ready("unavailable", lack, list(lacking))


Probe = Callable[[], Coroutine[Any, Any, Dependency]]
"""Asks a shared server how it is. What it raises, and a second without an answer, count as silent."""


class Lookout:
    """Looks at shared servers when asked: bounded, whatever they do, and once for all who ask at the same time."""

    def __init__(self, probes: Mapping[str, Probe], *, within: float = 1.0, kept: float = 0.5) -> None:
        """`within`: seconds for a look. `kept`: seconds for which what was seen is told again."""
        self._probes = probes
        self._within = within
        self._kept = kept
        self._looks: dict[str, asyncio.Task[Dependency]] = {}
        self._seen: Mapping[str, Dependency] = dict.fromkeys(probes, Dependency.SILENT)
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def states(self) -> Mapping[str, Dependency]:
        if monotonic() - self._seen_at > self._kept:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            await asyncio.shield(self._looking)
        return self._seen

    async def told(self) -> Dependencies:
        return Dependencies.of(await self.states())

    async def _look(self) -> None:
        for name, probe in self._probes.items():
            last = self._looks.get(name)
            if last is None or last.done():  # one that still waits from last time is not joined by another
                self._looks[name] = asyncio.create_task(probe())
        await asyncio.wait(self._looks.values(), timeout=self._within)
        seen = {name: _seen(self._looks[name]) for name in self._probes}
        for name, look in tuple(self._looks.items()):
            if look.done():
                del self._looks[name]
            else:
                look.cancel()  # and is not waited for: a driver may take its time even over this
        self._seen, self._seen_at = seen, monotonic()


def _seen(look: "asyncio.Future[Dependency]") -> Dependency:
    if not look.done() or look.cancelled() or look.exception() is not None:
        return Dependency.SILENT
    return look.result()
