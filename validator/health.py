"""Health checks of a validator process; core/health.py says what the three questions mean.

The process is ready once it has seen every bucket loaded, and stays ready: later it can answer from its memory.

Its parts are chains of timers, without tasks, and are checked once a second. A link counts as tended while it is
connected, connecting, or about to retry; a fence while its question is answered, or given up, in time.
"""

import asyncio
from typing import Final

import structlog

from core.clock import unix_time
from core.health import Dependencies, Dependency, Readiness
from core.parts import Part, Parts
from core.resp.waiting import drive
from validator.http.answers import Letterhead
from validator.http.protocol import Request
from validator.http.routes import Route
from validator.store.store import Store

_LOOK_EACH: Final = 1.0
_ASK_EACH: Final = 0.1
_ASK_EACH_LATER: Final = 10.0
_SERVER: Final = "redis"

log = structlog.get_logger()


class Health:
    def __init__(self, parts: Parts, store: Store, letterhead: Letterhead) -> None:
        self.readiness = Readiness(lambda: parts.dead)
        self.redis = Dependency.SILENT
        """The state that was seen last, for metrics."""
        self._parts = parts
        self._links = parts.add("links")
        self._fences = parts.add("fences")
        self._store = store
        self._letterhead = letterhead
        self._loop = asyncio.get_running_loop()
        self._stopped = False

    def start(self) -> None:
        self._look_over()
        self._ask()

    def stop(self) -> None:
        self._stopped = True

    @property
    def routes(self) -> dict[bytes, Route]:
        return {
            b"/health/live": Route(b"GET", self._live),
            b"/health/ready": Route(b"GET", self._ready),
            b"/health/dependencies": Route(b"GET", self._dependencies),
        }

    def _look_over(self) -> None:
        if self._stopped:
            return
        self._loop.call_later(_LOOK_EACH, self._look_over)
        nodes = self._store.nodes
        # A part without a running timer may still look successful: it gets no heartbeat then.
        if all(link.tended for link in nodes.all):
            _turn(self._links, succeeded=nodes.up)
        if all(link.fence.tended for link in nodes.all):
            _turn(self._fences, succeeded=self._store.hears_changes)

    def _ask(self) -> None:
        if not self._stopped:
            drive(self._condition(), self._asked, self._failed)

    def _asked(self, _seen: Dependency) -> None:
        self._loop.call_later(_ASK_EACH_LATER if self.readiness.reached else _ASK_EACH, self._ask)

    def _failed(self, fault: Exception) -> None:
        log.error("health.look_failed", exc_info=fault)
        self._loop.call_later(_ASK_EACH_LATER, self._ask)

    async def _condition(self) -> Dependency:
        self.redis = await self._store.condition()
        if self.redis is Dependency.OK or (self.redis is Dependency.UNFIT and self._store.loaded):
            self.readiness.reach()
        return self.redis

    async def _live(self, _request: Request) -> bytes:
        dead = self._parts.dead
        report = {"status": "dead" if dead else "ok", "now": int(unix_time()), "parts": self._parts.report()}
        return self._letterhead.json(503 if dead else 200, report)

    async def _ready(self, _request: Request) -> bytes:
        if not self.readiness.reached:
            await self._condition()
        report = self.readiness.report((_SERVER,))
        return self._letterhead.json(200 if report.ok else 503, report)

    async def _dependencies(self, _request: Request) -> bytes:
        return self._letterhead.ok(Dependencies.of({_SERVER: await self._condition()}))


def _turn(part: Part, *, succeeded: bool) -> None:
    if succeeded:
        part.succeeded()
    else:
        part.beat()
