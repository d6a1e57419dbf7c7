"""Health checks of an API process: liveness, readiness and dependencies (core/health.py explains the three).

The process is ready after its first successful transaction, and stays ready until it drains.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.datastructures import State
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from billing_api.access.permissions import Permission
from core.clock import unix_time
from core.health import Dependencies, Dependency, Lookout, Readiness, Ready
from core.parts import Parts, beat, succeeded
from core.telemetry import lines_lost, logger
from db.unit_of_work import Database

_CHECK_EVERY_UNTIL_READY: Final = 1.0
_CHECK_EVERY: Final = 10.0
_TRANSACTION_WITHIN: Final = 2.0
_STATES: Final = Gauge(
    "np_dependency",
    "1 where a process sees a shared server in this state",
    ("dependency", "state"),
    multiprocess_mode="livemax",
)
_LINES_LOST: Final = Counter("np_log_lines_lost", "Lines that could not be written to the log")


class Live(msgspec.Struct, frozen=True):
    """Whether a part of the process is dead."""

    status: Annotated[str, Meta(description="`ok` or `dead`.", examples=["ok"])]
    now: Annotated[int, Meta(description="The process's time, in Unix seconds.", examples=[1795363200])]
    parts: Annotated[
        Mapping[str, Mapping[str, Any]],
        Meta(
            description="By name: `state` is ok, idle or dead; `last_success` is in Unix seconds.",
            examples=[{"usage batches": {"state": "ok", "last_success": 1795363200}}],
        ),
    ]


class Health:
    """One for each process. Its `run` is a supervised part too: if the event loop hangs, its heartbeat is missing."""

    def __init__(self, parts: Parts, readiness: Readiness, lookout: Lookout, database: Database) -> None:
        self.parts = parts
        self.readiness = readiness
        self.lookout = lookout
        self._database = database
        self._lines_lost = 0
        self._probing = asyncio.Lock()

    async def run(self) -> None:
        """Loops forever: tries the first transaction, then updates the metrics about shared servers."""
        while True:
            try:
                await self._check()
            except Exception:  # noqa: BLE001  after any error the next round checks again
                logger().exception("health.look_failed")
            beat()
            await asyncio.sleep(_CHECK_EVERY if self.readiness.reached else _CHECK_EVERY_UNTIL_READY)

    async def missing(self) -> Sequence[str]:
        """The servers that the process still needs before it is ready."""
        async with self._probing:  # one probe at a time for all callers: it takes a connection of the pool
            if self.readiness.reached:
                return ()
            try:
                async with asyncio.timeout(_TRANSACTION_WITHIN), self._database.as_system() as tx:
                    await tx.session.execute(text("SELECT 1"))
            except Exception as failure:  # noqa: BLE001  the failure is the answer
                logger().warning("health.not_ready", cause=type(failure).__name__)
                return ("postgres",)
            self.readiness.reach()
            return ()

    async def _check(self) -> None:
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
    responses={503: ResponseSpec(Live, generate_examples=False, description="A part is dead; the process ends")},
)
async def get_liveness(state: State) -> Response[Live]:
    """Check that no part of the process is dead.

    For supervisors: 503 means that a part is dead, and that the process is about to end.
    """
    parts: Parts = state.api.health.parts
    dead = parts.dead
    status = HTTPStatus.SERVICE_UNAVAILABLE if dead else HTTPStatus.OK
    return Response(Live("dead" if dead else "ok", int(unix_time()), parts.report()), status_code=status)


@get(
    "/health/ready",
    permission=Permission.PUBLIC,
    tags=["plumbing"],
    responses={
        503: ResponseSpec(Ready, generate_examples=False, description="Not yet, or no longer: `reason` says why")
    },
)
async def get_readiness(state: State) -> Response[Ready]:
    """Check that the process may be sent requests.

    For load balancers: 503 until it has reached what it needs, and again while it ends; `reason` says why.
    """
    health: Health = state.api.health
    report = health.readiness.report(() if health.readiness.reached else await health.missing())
    return Response(report, status_code=HTTPStatus.OK if report.ok else HTTPStatus.SERVICE_UNAVAILABLE)


@get(
    "/health/dependencies",
    permission=Permission.PUBLIC,
    tags=["plumbing"],
)
async def get_dependencies(state: State) -> Dependencies:
    """Read the state of the shared servers.

    Always 200: a server that is away is no reason to restart this process.
    """
    lookout: Lookout = state.api.health.lookout
    return await lookout.report()
