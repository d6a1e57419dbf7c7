"""Health of a worker process: liveness, readiness, dependencies (core/health.py says what the three mean).

Its duty needs both stores, and a hot store that is loaded. Once they were all there, it is ready from then on.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from core.clock import unix_time
from core.health import Dependency, Lookout, Readiness
from core.parts import Parts, succeeded
from workers.process.status_server import StatusPage
from workers.rebuild.rebuild import Rebuild

_encode: Final = msgspec.json.Encoder().encode
_LOOK_EACH: Final = 1.0
_LOOK_EACH_LATER: Final = 10.0


class Health:
    def __init__(
        self,
        parts: Parts,
        lookout: Lookout,
        rebuild: Rebuild,
        *,
        sees: Callable[[Mapping[str, Dependency]], None] = lambda _: None,
    ) -> None:
        """`lookout` looks at `postgres`, `redis` and maybe others; `sees` is called with the result."""
        self._sees = sees
        self.readiness = Readiness(lambda: parts.dead)
        self._parts = parts
        self._lookout = lookout
        self._rebuild = rebuild

    async def run(self) -> None:
        """For ever: notices when the duty can be done, and keeps the metrics of shared servers up to date."""
        while True:
            await self.look()
            succeeded()
            await asyncio.sleep(_LOOK_EACH_LATER if self.readiness.reached else _LOOK_EACH)

    async def look(self) -> list[str]:
        """Names what the duty lacks now."""
        states = await self._lookout.states()
        self._sees(states)
        lacking = [name for name, state in states.items() if not _serves(name, state)]
        if not self._rebuild.complete:
            lacking.append("hot_store_loaded")
        if not lacking:
            self.readiness.reach()
        return lacking

    async def live(self) -> StatusPage:
        dead = self._parts.dead
        report = {"status": "dead" if dead else "ok", "now": int(unix_time()), "parts": self._parts.report()}
        return StatusPage(_encode(report), HTTPStatus.SERVICE_UNAVAILABLE if dead else HTTPStatus.OK)

    async def ready(self) -> StatusPage:
        lacking = [] if self.readiness.reached else await self.look()
        report = self.readiness.report(lacking)
        return StatusPage(_encode(report), HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE)

    async def dependencies(self) -> StatusPage:
        return StatusPage(_encode(await self._lookout.report()))


def _serves(name: str, state: Dependency) -> bool:
    """An unfit Redis gets no marks; if it is loaded all the same, the rest of the duty can be done.

    The queue's Redis is not needed: jobs that no hint announces are found in Postgres.
    """
    if name == "queue_redis":
        return True
    return state is Dependency.OK or (name == "redis" and state is Dependency.UNFIT)
