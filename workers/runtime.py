"""Composition root of a worker process: makes every part, connects it with the others, and keeps it running.

    listen ──wakes──► relay          projection lane → hot store
           ──wakes──► partner lane   due jobs → hints → arq → dispatcher → handlers
    rebuild                          each second: is anything missing in the hot store?
    pins                             each second: is anything held for reports that never came?
    reconcile                        each minute: do the stores say the same?
    audit                            seals what has been added to the audit trail
    leases                           signs what the relay has projected, and what is due
    overdue                          each half minute: which subscriptions lack a webhook?
    stripe                           each five minutes: which events did no webhook bring?
    dunning                          each half minute: which steps after a failed payment are due?
    arq                              takes hints, starts periodic work
    health                           notices when everything was there, looks at the stores
    status                           answers requests for health and metrics

A part that dies or gives no heartbeat for a minute ends the process (core/parts.py).

No part waits for another one to be up: Postgres or Redis may be away at the start, in between, and come back.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST
from redis.asyncio import Redis

from billing_api.licensing.licenses import lapsing
from core.clock import MOVED, utc_now
from core.crypto.audit_chain import AuditChain
from core.health import Dependency, Lookout, Probe, Readiness
from core.hotstore import condition
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.jobs import Lane
from core.parts import EXIT_CODE, Parts
from core.settings import WorkerSettings
from core.telemetry import logger
from db.condition import PostgresCondition
from db.engine import create_engine
from db.unit_of_work import Database
from workers.agenda import MINUTE, WEEK, Agenda, Duty
from workers.audit.sealer import AuditSealer
from workers.handlers.wiring import wire_handlers
from workers.health import Health
from workers.jobs import connection_budget, periodic
from workers.jobs.arq_queue import ArqQueue
from workers.jobs.dispatch import Dispatcher
from workers.jobs.partner_lane import PartnerLane
from workers.process import status_server
from workers.process.listening import listen
from workers.process.metrics import Metrics
from workers.process.redis_pool import redis_pool
from workers.process.status_server import Handler, StatusPage
from workers.process.supervision import end, keep_running
from workers.projection.lease_signer import Leases
from workers.projection.pin_sweeper import PinSweeper
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild
from workers.reconciliation.run import Reconciliation


async def run(settings: WorkerSettings, parts: Parts | None = None) -> int:
    """Works until SIGTERM, SIGINT, or until a part of it is dead; answers the exit code.

    After SIGTERM it goes on working and answering for NP_DRAIN_SECONDS, but is not ready any more. The API and the
    validator do the same.
    """
    # Each entry asks to stop, after so many seconds.
    asked: asyncio.Queue[int] = asyncio.Queue()
    for signum, seconds in ((signal.SIGTERM, settings.drain_seconds), (signal.SIGINT, 0)):
        asyncio.get_running_loop().add_signal_handler(signum, asked.put_nowait, seconds)
    async with AsyncExitStack() as closing:
        parts = parts or Parts()
        runtime = Runtime(settings, closing, parts)
        health = runtime.health
        pages = {
            "/health/live": health.live,
            "/health/ready": health.ready,
            "/health/dependencies": health.dependencies,
            "/metrics": runtime.show_metrics,
            **runtime.devstack_pages(),
        }
        server = await status_server.serve(settings.host, settings.port, pages)
        runtime.start()
        parts.watch(condemned=lambda: asked.put_nowait(0))
        logger().info("workers.started", port=settings.port)
        await _drain(health.readiness, asked)
        # The parts end first; the status server answers until they have.
        code = EXIT_CODE if parts.dead else 0
        logger().info("workers.stopping", code=code)
        parts.stopping()
        await end(parts.tasks)
        await status_server.close(server)
    return code


async def _drain(readiness: Readiness, asked: "asyncio.Queue[int]") -> None:
    """Returns when it is time to stop: at once after a second signal or the death of a part."""
    seconds = await asked.get()
    readiness.drain()
    logger().info("workers.draining", seconds=seconds)
    with suppress(TimeoutError):
        await asyncio.wait_for(asked.get(), seconds)


class Runtime:
    """The parts of one process. `closing` closes what they hold, last made first."""

    def __init__(self, settings: WorkerSettings, closing: AsyncExitStack, parts: Parts) -> None:
        self._settings = settings
        self.parts = parts
        self.metrics = Metrics(self.parts.report)
        # Both stores first, then what keeps Redis equal to Postgres, then the jobs; health looks at all of it.
        engine = create_engine(settings.database_url, pool_size=connection_budget.POOL, name="nextpanel-workers")
        self._database = Database(engine)
        closing.push_async_callback(self._database.close)
        redis = Redis.from_pool(redis_pool(settings.redis_url))
        closing.push_async_callback(redis.aclose)
        writer = Writer(HotStoreClient(redis))
        closing.push_async_callback(writer.client.close)
        self._wire_projection(writer)
        chain = AuditChain(settings.audit_keys)
        self._sealer = AuditSealer(self._database, chain, utc_now, whole=self.metrics.chain_whole)
        self._wire_jobs(closing)
        postgres = PostgresCondition(settings.database_url, name="nextpanel-workers")
        closing.callback(postgres.close)
        lookout = Lookout({"postgres": postgres.look, **self._redis_probes(redis)})
        closing.push_async_callback(lookout.close)
        self.health = Health(self.parts, lookout, self._rebuild, sees=self.metrics.sees)

    def _wire_projection(self, writer: Writer) -> None:
        self._rebuild = Rebuild(self._database, writer, applied=self.metrics.rebuilt)
        self._pins = PinSweeper(self._database, writer)
        self._reconciliation = Reconciliation(
            self._database,
            writer,
            utc_now,
            every=self._settings.reconcile_seconds,
            load=self._rebuild.look,
            told=self.metrics.differs,
        )
        self._leases = Leases(self._database, writer, self._settings.lease_keys, utc_now, signed=self.metrics.signed)
        self._relay = Relay(
            self._database,
            writer,
            utc_now,
            complete=lambda: self._rebuild.complete,
            reigns=lambda: self._rebuild.reigns,
            projected=self.metrics.projected,
            changed=self._leases.changed,
        )

    def _wire_jobs(self, closing: AsyncExitStack) -> None:
        self._works, self._overdue, self._dunning, self._stripe = wire_handlers(self._settings, self._database, closing)
        crons = periodic.crons(self._database)
        dispatcher = Dispatcher(self._database, self._works, performed=self.metrics.performed)
        # A place for each job of each kind, so that a kind whose room is full takes no place of another kind.
        places = sum(work.at_once for work in self._works) + len(crons)
        self._queue = ArqQueue(self._settings.queue_redis_url, self._take, crons, at_once=places)
        closing.push_async_callback(self._queue.close)
        self._partners = PartnerLane(self._database, dispatcher, self._queue)

    async def _take(self, outbox_id: int) -> None:
        await self._partners.take(outbox_id)

    def _redis_probes(self, redis: Redis) -> Mapping[str, Probe]:
        probes: dict[str, Probe] = {"redis": lambda: self._redis_condition(redis)}
        if self._settings.queue_redis_url != self._settings.redis_url:
            probes["queue_redis"] = lambda: condition.look(self._queue.redis)
        return probes

    async def _redis_condition(self, redis: Redis) -> Dependency:
        """Not OK before everything is in it, however well it answers: validators cannot use it yet."""
        state = await condition.look(redis)
        if state is not Dependency.OK:
            return state
        if self._rebuild.unfit is not None:  # of a Cluster's nodes, the one that was asked tells of itself only
            return Dependency.UNFIT
        return state if self._rebuild.complete else Dependency.LOADING

    def start(self) -> None:
        wakers: dict[Lane, Callable[[], None]] = {
            "projection": self._relay.wakeup.wake,
            "partner": self._partners.wakeup.wake,
        }
        parts = {
            "listen": lambda: listen(self._settings.database_url, wakers),
            "relay": self._relay.run,
            "rebuild": self._rebuild.run,
            "pins": self._pins.run,
            "reconcile": self._reconciliation.run,
            "audit": self._sealer.run,
            "leases": self._leases.run,
            "overdue": self._overdue.run,
            "dunning": self._dunning.run,
            "stripe": self._stripe.run,
            "partner_lane": self._partners.run,
            "arq": self._queue.run,
            "health": self.health.run,
        }
        connection_budget.check(parts, self._works)
        for name, part in parts.items():
            self.parts.start(name, keep_running(name, part))

    def devstack_pages(self) -> dict[str, Handler]:
        """Where time can be moved, what has fallen due is done when it is asked for (workers/agenda.py)."""
        if MOVED is None:
            return {}
        return Agenda(self._database, MOVED, self._relay, self._partners, self._duties()).pages()

    def _duties(self) -> list[Duty]:
        expire = partial(periodic.record_expired_licenses, self._database)
        return [
            Duty("overdue subscriptions", self._overdue.look, each=MINUTE),
            Duty("events of Stripe", self._stripe.look, each=MINUTE),
            Duty("dunning", self._dunning.take_steps, next_due=self._dunning.next_step),
            Duty("renewal notices", self._dunning.send_notices, next_due=self._dunning.next_notice),
            Duty("licenses that are over", expire, next_due=partial(lapsing.next_due, self._database)),
            Duty("leases", self._leases.sweep, each=WEEK),
            *(Duty(task.__name__, partial(task, self._database), each=WEEK) for task in periodic.BY_DATE),
        ]

    async def show_metrics(self) -> StatusPage:
        body = await self.metrics.exposition(self._database, self._queue, self._rebuild)
        return StatusPage(body, content_type=CONTENT_TYPE_LATEST)
