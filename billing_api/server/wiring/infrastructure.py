"""Infrastructure: connections and tools that the services of all rooms share, from start to stop."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from redis.asyncio import Redis

from billing_api.access.tokens import TokenIssuer
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.documents import StripeDocuments
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.uses import SessionUses
from core.access_store.store import AccessStore
from core.clock import Clock
from core.hotstore.client import HotStoreClient
from core.hotstore.connections import LeavingPool
from core.hotstore.reader import Reader
from core.hotstore.writer import Writer
from core.parts import Parts
from core.settings import ApiSettings
from db.driver import SystemSessions
from db.engine import create_engine
from db.reads import CustomerReads, SystemReads
from db.unit_of_work import Database


@dataclass(frozen=True)
class Infrastructure:
    """`sessions`: PostgreSQL without an ORM, for usage reports. `queue_redis`: sessions and rate limits."""

    settings: ApiSettings
    clock: Clock
    parts: Parts
    tokens: TokenIssuer
    database: Database
    reads: CustomerReads
    system_reads: SystemReads
    sessions: SystemSessions
    redis: Redis
    queue_redis: Redis
    hot_store: HotStoreClient
    hot_store_reader: Reader
    hot_store_writer: Writer
    access_store: AccessStore
    uses: SessionUses
    stripe: StripeGateway
    documents: StripeDocuments
    passwords: Passwords
    liveness: Liveness


def open_infrastructure(
    settings: ApiSettings, clock: Clock, parts: Parts, until_stopped: AsyncExitStack
) -> Infrastructure:
    """Nothing connects yet. `until_stopped` closes each of them in reverse order."""
    # PostgreSQL and Stripe.
    database = Database(create_engine(settings.database_url, name="billing_api"))
    reads = CustomerReads(settings.database_url, name="billing_api")
    system_reads = SystemReads(settings.database_url, name="billing_api")
    sessions = SystemSessions(settings.database_url, name="billing_api")
    stripe = StripeGateway(settings.stripe)
    documents = StripeDocuments(stripe.v1, api_base=settings.stripe.api_base)
    for opened in (database, reads, system_reads, sessions, stripe, documents):
        until_stopped.push_async_callback(opened.close)
    # Redis: the hot store, then the one of the queue, which also holds sessions and rate limits.
    redis = Redis.from_pool(LeavingPool.of(settings.redis_url))
    until_stopped.push_async_callback(redis.aclose)
    queue_redis = Redis.from_pool(LeavingPool.of(settings.queue_redis_url))
    until_stopped.push_async_callback(queue_redis.aclose)
    passwords = Passwords.shared_by(settings.processes)
    until_stopped.callback(passwords.close)
    hot_store, access_store = HotStoreClient(redis), AccessStore(settings.queue_redis_url, name="np-billing-api")
    uses = SessionUses(database)
    for closed in (access_store, uses):
        until_stopped.push_async_callback(closed.close)
    return Infrastructure(
        settings=settings,
        clock=clock,
        parts=parts,
        tokens=TokenIssuer(settings.jwt_keys, clock),
        database=database,
        reads=reads,
        system_reads=system_reads,
        sessions=sessions,
        redis=redis,
        queue_redis=queue_redis,
        hot_store=hot_store,
        hot_store_reader=Reader(hot_store),
        hot_store_writer=Writer(hot_store),
        access_store=access_store,
        uses=uses,
        stripe=stripe,
        documents=documents,
        passwords=passwords,
        liveness=Liveness(database, system_reads, access_store, uses, clock),
    )
