"""What a process tells of itself and of the servers that it shares: three questions, and none answers for another.

    /health/live           is this process to be restarted?       503: a part of it is dead, or silent for a minute
    /health/ready          may it be sent requests?               503 in three cases only, see `Lack`
    /health/dependencies   which shared servers do not serve?     200 always; the body tells

Readiness is latched. A server that all processes share is away from all of them at once: were each to say "not ready"
then, a load balancer would take every one of them out, together with all the answers that need no server. So a process
is not ready until it has once reached what its duty needs; whatever shared servers do later is told by their state.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

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
