"""Health checks of a process: liveness, readiness, and the state of shared servers. None answers for another.

    /health/live           must this process be restarted?        503: a part of it is dead, or silent for a minute
    /health/ready          may it be sent requests?               503 in three cases only, see `Lack`
    /health/dependencies   which shared servers do not serve?     200 always; the body tells

Readiness is latched. A server that all processes share is away from all of them at the same time. If each process said
"not ready" then, a load balancer would take out all of them, and with them all answers that need no server. So a
process becomes ready once it has reached everything it needs, and stays ready. What happens to shared servers later is
told by /health/dependencies.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from time import monotonic
from typing import Annotated, Any, Final

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
    """The state of the servers that processes share."""

    status: Annotated[str, msgspec.Meta(description="`ok` or `degraded`.", examples=["ok"])]
    lacking: Annotated[Sequence[str], msgspec.Meta(description="Those that are not `ok`, by name.", examples=[[]])]
    dependencies: Annotated[
        Mapping[str, Dependency],
        msgspec.Meta(
            description="The state of each, by name.", examples=[{"postgres": "ok", "redis": "ok", "queue_redis": "ok"}]
        ),
    ]

    @classmethod
    def of(cls, states: Mapping[str, Dependency]) -> "Dependencies":
        lacking = [name for name, state in states.items() if state is not Dependency.OK]
        return cls("degraded" if lacking else "ok", lacking, dict(states))


class Lack(StrEnum):
    """Why a process is not ready. There is no fourth reason."""

    NOT_YET = "not_yet"
    """Since its start it has not yet reached everything it needs."""
    DEAD_PART = "dead_part"
    """A part of its own is dead, or has given no heartbeat for a minute."""
    DRAINING = "draining"
    """It was asked to stop, and finishes what is under way."""


class Ready(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether the process may be sent requests."""

    status: Annotated[str, msgspec.Meta(description="`ok` or `unavailable`.", examples=["ok"])]
    reason: Annotated[Lack | None, msgspec.Meta(description="Why not; absent where it is ready.")] = None
    lacking: Annotated[
        Sequence[str],
        msgspec.Meta(
            description="Not yet: what has not been reached. Dead part: its name. Absent where it is ready.",
            examples=[["postgres"]],
        ),
    ] = ()

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
        """Whether it has once reached everything it needs."""
        return self._reached

    @property
    def draining(self) -> bool:
        return self._draining

    def reach(self) -> None:
        """Everything needed was reached just now. This counts until the process ends."""
        self._reached = True

    def drain(self) -> None:
        """The process was asked to stop: it is not ready from now on, and still serves the requests that come."""
        self._draining = True

    @property
    def lack(self) -> Lack | None:
        """None: ready."""
        if self._draining:
            return Lack.DRAINING
        if self._dead():
            return Lack.DEAD_PART
        return None if self._reached else Lack.NOT_YET

    def report(self, missing: Sequence[str] = ()) -> Ready:
        """`missing`: what a process that is not ready yet still needs."""
        lack = self.lack
        if lack is None:
            return READY
        lacking = {Lack.NOT_YET: missing, Lack.DEAD_PART: self._dead(), Lack.DRAINING: ()}[lack]
        return Ready("unavailable", lack, list(lacking))


Probe = Callable[[], Coroutine[Any, Any, Dependency]]
"""Asks a shared server for its state. An exception, or a second without an answer, counts as silent."""


class Lookout:
    """Probes shared servers on demand: within a time limit, and once for all callers that ask at the same time."""

    def __init__(self, probes: Mapping[str, Probe], *, within: float = 1.0, kept: float = 0.5) -> None:
        """`within`: seconds for all probes. `kept`: seconds for which a result is told again."""
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

    async def report(self) -> Dependencies:
        return Dependencies.of(await self.states())

    async def close(self) -> None:
        """Ends what still looks. Call it before its connections are closed: a look would open them again."""
        looks = {*self._looks.values(), *([self._looking] if self._looking else [])}
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks, timeout=self._within)

    async def _look(self) -> None:
        for name, probe in self._probes.items():
            last = self._looks.get(name)
            if last is None or last.done():  # no second probe beside one that still waits
                self._looks[name] = asyncio.create_task(probe())
        await asyncio.wait(self._looks.values(), timeout=self._within)
        seen = {name: _seen(self._looks[name]) for name in self._probes}
        for name, look in tuple(self._looks.items()):
            if look.done():
                del self._looks[name]
            else:
                look.cancel()  # without waiting for its end: a driver may be slow even at that
        self._seen, self._seen_at = seen, monotonic()


def _seen(look: "asyncio.Future[Dependency]") -> Dependency:
    if not look.done() or look.cancelled() or look.exception() is not None:
        return Dependency.SILENT
    return look.result()
