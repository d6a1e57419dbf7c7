"""Health of an API process: see core/health.py for what the three questions mean.

Its duty needs one transaction: once there was one, the process is ready from then on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from billing_api.access.permissions import Permission
from core.health import Dependencies, Dependency, Lookout, Readiness, Ready
from core.parts import Parts, beat, succeeded
from core.telemetry import lines_lost, logger
from db.unit_of_work import Database

_LOOK_EACH: Final = 1.0
_LOOK_EACH_LATER: Final = 10.0
_TRANSACTION_WITHIN: Final = 2.0
_STATES: Final = Gauge(
    "np_dependency",
    "1 where a process sees a shared server in this state",
    ("dependency", "state"),
    multiprocess_mode="livemax",
)
_LINES_LOST: Final = Counter("np_log_lines_lost", "Lines that could not be written to the log")


class Live(msgspec.Struct, frozen=True):
    status: str
    """`ok` or `dead`."""
    parts: Mapping[str, Mapping[str, object]]
    """By name: `state` ok, idle or dead, and `last_success` in unix seconds."""


class Health:
    """One for each process. Its `run` is a part itself: where the event loop hangs, that is missed."""

    def __init__(self, parts: Parts, readiness: Readiness, lookout: Lookout, database: Database) -> None:
        self.parts = parts
        self.readiness = readiness
        self.lookout = lookout
        self._database = database
        self._lines_lost = 0
        self._trying = asyncio.Lock()

    async def run(self) -> None:
        """For ever: tries the first transaction, then keeps fresh what metrics tell of shared servers."""
        while True:
            try:
                await self._look()
            except Exception:  # noqa: BLE001  whatever it was, it is looked again
                logger().exception("health.look_failed")
            beat()
            await asyncio.sleep(_LOOK_EACH_LATER if self.readiness.reached else _LOOK_EACH)

    async def missing(self) -> Sequence[str]:
        """What the duty still needs."""
        async with self._trying:  # one at a time, however many ask: it takes a connection of the pool
            if self.readiness.reached:
                return ()
            try:
                async with asyncio.timeout(_TRANSACTION_WITHIN), self._database.as_system() as tx:
                    await tx.session.execute(text("SELECT 1"))
            except Exception as failure:  # noqa: BLE001  it is the answer
                logger().warning("health.not_ready", cause=type(failure).__name__)
                return ("postgres",)
            self.readiness.reach()
            return ()

    async def _look(self) -> None:
        if not self.readiness.reached:
            await self.missing()
        for name, seen in (await self.lookout.states()).items():
            for state in Dependency:
                _STATES.labels(name, state).set(state is seen)
        lost = lines_lost()
        _LINES_LOST.inc(lost - self._lines_lost)
        self._lines_lost = lost
        succeeded()


@get(
    "/health/live",
    permission=Permission.PUBLIC,
    tags=["plumbing"],
    summary="No part of the process is dead",
    responses={503: ResponseSpec(Live, generate_examples=False, description="A part is dead; the process ends")},
)
async def live(state: State) -> Response[Live]:
    parts: Parts = state.api.health.parts
    dead = parts.dead
    status = HTTPStatus.SERVICE_UNAVAILABLE if dead else HTTPStatus.OK
    return Response(Live("dead" if dead else "ok", parts.told()), status_code=status)


@get(
    "/health/ready",
    permission=Permission.PUBLIC,
    tags=["plumbing"],
    summary="The process may be sent requests",
    responses={503: ResponseSpec(Ready, generate_examples=False, description="Not yet, or no longer: `reason` tells")},
)
async def ready(state: State) -> Response[Ready]:
    health: Health = state.api.health
    told = health.readiness.told(() if health.readiness.reached else await health.missing())
    return Response(told, status_code=HTTPStatus.OK if told.ok else HTTPStatus.SERVICE_UNAVAILABLE)


@get(
    "/health/dependencies",
    permission=Permission.PUBLIC,
    tags=["plumbing"],
    summary="How shared servers are; always 200",
)
async def dependencies(state: State) -> Dependencies:
    lookout: Lookout = state.api.health.lookout
    return await lookout.told()
