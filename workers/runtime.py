"""One worker process, wired: every part is made here, knows its neighbours from here, and is kept running from here.

    listen ──rings──► relay          projection lane → hot store
           ──rings──► partner lane   due jobs → hints → arq → dispatcher → handlers
    rebuild                          each second: is anything missing in the hot store?
    pins                             each second: is anything held for reports that never came?
    reconcile                        each minute: do the stores say the same?
    audit                            seals what has been added to the audit trail
    leases                           signs what the relay has projected, and what is due
    arq                              takes hints, rings for periodic work
    health                           notices when everything was there, looks at the stores
    status                           health and metrics, for who asks

A part that dies or gives no heartbeat for a minute ends the process (core/parts.py).

No part waits for another one to be up: Postgres or Redis may be away at the start, in between, and come back.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from redis.asyncio import Redis

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.mail.relay import HttpMailRelay
from billing_api.gateways.nextpanel import NextPanelGateway
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.notifications.mails.rendering import MailRenderer
from billing_api.notifications.mails.service import Mails
from billing_api.operations.webhooks.service import WebhookProcessor
from billing_api.privacy.aftermath import CustomerErasure
from core.clock import utc_now
from core.crypto.audit_chain import AuditChain
from core.health import Dependency, Lookout, Probe, Readiness
from core.hotstore import condition
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.jobs import AlignAccount, DeliverMail, ForgetCustomer, Lane, MailResetLink, Provision
from core.parts import EXIT_CODE, Parts
from core.settings import WorkerSettings
from core.telemetry import logger
from db.condition import PostgresCondition
from db.engine import create_engine
from db.unit_of_work import Database
from workers.audit.sealer import AuditSealer
from workers.handlers.mail import MailDelivery
from workers.handlers.overdue_subscriptions import OverdueSubscriptions
from workers.handlers.provisioning import Provisioning
from workers.handlers.webhooks import WEBHOOK_CLAIM_SECONDS, webhook_work
from workers.health import Health
from workers.jobs import connection_budget, periodic
from workers.jobs.arq_queue import ArqQueue
from workers.jobs.dispatch import Dispatcher, Work
from workers.jobs.partner_lane import PartnerLane
from workers.process import status_server
from workers.process.listening import listen
from workers.process.metrics import Metrics
from workers.process.redis_pool import redis_pool
from workers.process.status_server import StatusPage
from workers.process.supervision import end, keep_running
from workers.projection.lease_signer import Leases
from workers.projection.pin_sweeper import PinSweeper
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild
from workers.reconciliation.run import Reconciliation


async def run(settings: WorkerSettings, parts: Parts | None = None) -> int:
    """Works until SIGTERM, SIGINT, or until a part of it is dead; the exit code.

    On SIGTERM it works and answers on for NP_DRAIN_SECONDS, not ready any more, as the API and the validator do: who
    watches all three sees the same of each.
    """
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
        }
        server = await status_server.serve(settings.host, settings.port, pages)
        runtime.start()
        parts.watch(condemned=lambda: asked.put_nowait(0))
        logger().info("workers.started", port=settings.port)
        await _drain(health.readiness, asked)
        code = EXIT_CODE if parts.dead else 0
        logger().info("workers.stopping", code=code)
        parts.stopping()
        await end(parts.tasks)
        await status_server.close(server)
    return code


async def _drain(readiness: Readiness, asked: "asyncio.Queue[int]") -> None:
    """Returns when it is time to stop. A second signal, or a part that dies, hurries."""
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
        self.metrics = Metrics(self.parts.told)
        engine = create_engine(settings.database_url, pool_size=connection_budget.POOL, name="nextpanel-workers")
        self._database = Database(engine)
        closing.push_async_callback(self._database.close)
        redis = Redis.from_pool(redis_pool(settings.redis_url))
        closing.push_async_callback(redis.aclose)
        writer = Writer(HotStoreClient(redis))
        closing.push_async_callback(writer.client.close)
        self._rebuild = Rebuild(self._database, writer, applied=self.metrics.rebuilt)
        self._pins = PinSweeper(self._database, writer)
        self._reconciliation = Reconciliation(
            self._database,
            writer,
            utc_now,
            every=settings.reconcile_seconds,
            load=self._rebuild.look,
            told=self.metrics.differs,
        )
        chain = AuditChain(settings.audit_keys)
        self._sealer = AuditSealer(self._database, chain, utc_now, whole=self.metrics.chain_whole)
        postgres = PostgresCondition(settings.database_url, name="nextpanel-workers")
        closing.callback(postgres.close)
        lookout = Lookout({"postgres": postgres.look, **self._redis_probes(redis)})
        self.health = Health(self.parts, lookout, self._rebuild, sees=self.metrics.sees)
        self._leases = Leases(self._database, writer, settings.lease_keys, utc_now, signed=self.metrics.signed)
        self._relay = Relay(
            self._database,
            writer,
            utc_now,
            complete=lambda: self._rebuild.complete,
            reigns=lambda: self._rebuild.reigns,
            projected=self.metrics.projected,
            changed=self._leases.changed,
        )
        self._kinds = works = self._works(closing)
        crons = periodic.crons(self._database)
        self._dispatcher = Dispatcher(self._database, works, performed=self.metrics.performed)
        places = sum(work.at_once for work in works) + len(crons)  # no kind, were it full, takes another's
        self._queue = ArqQueue(settings.queue_redis_url, self._take, crons, at_once=places)
        closing.push_async_callback(self._queue.close)
        self._partners = PartnerLane(self._database, self._dispatcher, self._queue)

    async def _take(self, outbox_id: int) -> None:
        await self._partners.take(outbox_id)

    def _works(self, closing: AsyncExitStack) -> list[Work[Any]]:
        settings = self._settings
        nextpanel = NextPanelGateway(settings.nextpanel_url, settings.nextpanel_jwt_secret, utc_now)
        relay = HttpMailRelay(settings.mail_url, utc_now)
        stripe = StripeGateway(settings.stripe)
        for gateway in (nextpanel, relay, stripe):
            closing.push_async_callback(gateway.close)
        provisioning = Provisioning(self._database, nextpanel, utc_now)
        renderer = MailRenderer(settings.secrets.sealer, public_url=settings.public_url, portal_url=settings.portal_url)
        mail = MailDelivery(self._database, relay, renderer)
        mirror = Mirror(self._database, stripe, settings.secrets, utc_now, within=WEBHOOK_CLAIM_SECONDS)
        self._overdue = OverdueSubscriptions(self._database, mirror, utc_now)
        processor = WebhookProcessor(self._database, mirror)
        reset_links = ResetLinks(self._database, Mails(settings.secrets), settings.secrets, utc_now)
        return [
            webhook_work(processor),
            Work(Provision, provisioning.provision, claim_seconds=15, connections=2, on_death=provisioning.refuse),
            Work(AlignAccount, provisioning.align, claim_seconds=30, connections=2),
            Work(DeliverMail, mail.deliver, claim_seconds=15),
            Work(MailResetLink, reset_links.perform, claim_seconds=15, at_once=2),
            Work(ForgetCustomer, CustomerErasure(self._database, stripe).perform, claim_seconds=30, at_once=1),
        ]

    def _redis_probes(self, redis: Redis) -> Mapping[str, Probe]:
        probes: dict[str, Probe] = {"redis": lambda: self._redis_condition(redis)}
        if self._settings.queue_redis_url != self._settings.redis_url:
            probes["queue_redis"] = lambda: condition.look(self._queue.redis)
        return probes

    async def _redis_condition(self, redis: Redis) -> Dependency:
        """Of no use to validators before everything is in it, however well it answers."""
        state = await condition.look(redis)
        if state is not Dependency.OK:
            return state
        if self._rebuild.unfit is not None:  # of a Cluster's nodes, the one that was asked tells of itself only
            return Dependency.UNFIT
        return state if self._rebuild.complete else Dependency.LOADING

    def start(self) -> None:
        bells: dict[Lane, Callable[[], None]] = {
            "projection": self._relay.woken.ring,
            "partner": self._partners.woken.ring,
        }
        parts = {
            "listen": lambda: listen(self._settings.database_url, bells),
            "relay": self._relay.run,
            "rebuild": self._rebuild.run,
            "pins": self._pins.run,
            "reconcile": self._reconciliation.run,
            "audit": self._sealer.run,
            "leases": self._leases.run,
            "overdue": self._overdue.run,
            "partner_lane": self._partners.run,
            "arq": self._queue.run,
            "health": self.health.run,
        }
        connection_budget.check(parts, self._kinds)
        for name, part in parts.items():
            self.parts.start(name, keep_running(name, part))

    async def show_metrics(self) -> StatusPage:
        body = await self.metrics.exposition(self._database, self._queue, self._rebuild)
        return StatusPage(body, content_type=CONTENT_TYPE_LATEST)
