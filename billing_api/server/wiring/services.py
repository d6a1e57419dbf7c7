"""Puts the API's parts together when it starts, and takes them apart when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict

from litestar import Litestar
from redis.asyncio import Redis

from billing_api.access.rate_limits import Limits
from billing_api.access.tokens import TokenIssuer
from billing_api.commerce.checkout.service import CheckoutService
from billing_api.commerce.payments.service import PaymentService
from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.commerce.subscriptions.service import SubscriptionService
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.subscription_changes import StripeChanges
from billing_api.identity.accounts.registrations import Registrations
from billing_api.identity.accounts.service import AccountService
from billing_api.identity.credentials.email_changes import EmailChanges
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.credentials.repository import close_email_changes
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.identity.credentials.service import CredentialService
from billing_api.identity.login_throttle.service import GuessCounter
from billing_api.identity.oauth.service import ClientTokens, OAuthClientService
from billing_api.identity.second_factor.service import SecondFactorService
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.service import SessionService
from billing_api.identity.sessions.sign_in import SignIns
from billing_api.identity.step_up.service import StepUpService
from billing_api.identity.users.service import AccountEvents, UserAdministration
from billing_api.licensing.activation.service import ActivationAdministration, ActivationService
from billing_api.licensing.api_keys.service import ApiKeyService, SignatureChecker
from billing_api.licensing.leases.service import LeaseKeys
from billing_api.licensing.licenses.service import LicenseAdministration, LicenseService
from billing_api.licensing.usage.holds import Holds
from billing_api.licensing.usage.recording import Recording
from billing_api.licensing.usage.service import UsageService
from billing_api.licensing.usage_history.service import UsageHistoryService
from billing_api.notifications.mails.service import Mails
from billing_api.operations.audit.service import AuditTrail
from billing_api.operations.jobs.service import JobAdministration
from billing_api.operations.reconciliation.service import ReconciliationReports
from billing_api.operations.webhooks.service import WebhookAdministration, WebhookReceiver
from billing_api.privacy.service import AccountDeletion, DataExport
from billing_api.server.health import Health
from core.access_store.store import AccessStore
from core.clock import Clock
from core.health import Lookout, Probe
from core.hotstore import condition
from core.hotstore.client import HotStoreClient
from core.hotstore.connections import LeavingPool
from core.hotstore.reader import Reader
from core.hotstore.writer import Writer
from core.parts import Parts
from core.settings import ApiSettings, Secrets
from db.condition import PostgresCondition
from db.driver import SystemSessions
from db.engine import create_engine
from db.unit_of_work import Database


@dataclass(frozen=True)
class Services:
    """Everything a handler may ask for, each under its field's name."""

    database: Database
    accounts: AccountService
    registrations: Registrations
    credentials: CredentialService
    reset_links: ResetLinks
    email_changes: EmailChanges
    second_factor: SecondFactorService
    step_ups: StepUpService
    oauth_clients: OAuthClientService
    client_tokens: ClientTokens
    liveness: Liveness
    sessions: SessionService
    user_administration: UserAdministration
    account_events: AccountEvents
    account_deletion: AccountDeletion
    data_export: DataExport
    plans: PlanService
    checkouts: CheckoutService
    licenses: LicenseService
    license_administration: LicenseAdministration
    activations: ActivationService
    activation_administration: ActivationAdministration
    api_keys: ApiKeyService
    audit_trail: AuditTrail
    subscriptions: SubscriptionService
    payments: PaymentService
    usage: UsageService
    usage_history: UsageHistoryService
    signature_checker: SignatureChecker
    webhook_receiver: WebhookReceiver
    webhook_administration: WebhookAdministration
    job_administration: JobAdministration
    reconciliation_reports: ReconciliationReports
    lease_keys: LeaseKeys


def wired(settings: ApiSettings, clock: Clock) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        database = Database(create_engine(settings.database_url, name="billing_api"))
        stripe = StripeGateway(settings.stripe)
        passwords = Passwords.shared_by(settings.processes)
        redis = Redis.from_pool(LeavingPool.of(settings.redis_url))
        client = HotStoreClient(redis)
        hot_store, writer = Reader(client), Writer(client)
        queue_redis = Redis.from_pool(LeavingPool.of(settings.queue_redis_url))
        access_store = AccessStore(queue_redis)
        app.state.limits = Limits(access_store, settings.limits)
        app.state.liveness = liveness = Liveness(database, access_store, clock)
        sessions = SystemSessions(settings.database_url, name="billing_api")
        parts: Parts = app.state.parts
        usage = UsageService(
            Recording(sessions, Holds(writer), clock),
            settings.secrets,
            clock,
            parts.add("usage_reports", idle=True),
        )
        app.state.services = _services(
            settings, clock, database, stripe, passwords, hot_store, usage, app.state.tokens, liveness
        )
        app.state.services.signature_checker.last_use.part = parts.add("last_use", idle=True)
        try:
            async with _health(app, settings, database, _redis_probes(settings, redis, client, queue_redis)):
                yield
        finally:
            await usage.close()
            await app.state.services.signature_checker.last_use.written()
            passwords.close()
            await queue_redis.aclose()
            await redis.aclose()
            await stripe.close()
            await sessions.close()
            await database.close()

    return lifespan


def _redis_probes(
    settings: ApiSettings, redis: Redis, client: HotStoreClient, queue_redis: Redis
) -> Mapping[str, Probe]:
    probes: dict[str, Probe] = {"redis": lambda: condition.look_at_hot_store(redis, client)}
    if settings.queue_redis_url != settings.redis_url:
        probes["queue_redis"] = lambda: condition.look(queue_redis)
    return probes


@asynccontextmanager
async def _health(
    app: Litestar, settings: ApiSettings, database: Database, probes: Mapping[str, Probe]
) -> AsyncIterator[None]:
    """`probes`: of what it shares beside PostgreSQL."""
    parts: Parts = app.state.parts
    postgres = PostgresCondition(settings.database_url, name="billing_api")
    lookout = Lookout({"postgres": postgres.look, **probes})
    app.state.health = Health(parts, app.state.readiness, lookout, database)
    looking = parts.start("health", app.state.health.run())
    try:
        yield
    finally:
        parts.stopping()
        looking.cancel()
        await asyncio.wait({looking})
        postgres.close()


def _services(
    settings: ApiSettings,
    clock: Clock,
    database: Database,
    stripe: StripeGateway,
    passwords: Passwords,
    hot_store: Reader,
    usage: UsageService,
    tokens: TokenIssuer,
    liveness: Liveness,
) -> Services:
    secrets = settings.secrets
    mirror = Mirror(database, stripe, secrets, clock)
    return Services(
        database=database,
        **_sign_in(database, tokens=tokens, liveness=liveness, passwords=passwords, secrets=secrets, clock=clock),
        second_factor=SecondFactorService(
            database, liveness=liveness, secrets=secrets, clock=clock, when_enabled=close_email_changes
        ),
        oauth_clients=OAuthClientService(database, secrets, clock),
        client_tokens=ClientTokens(database, tokens=tokens, secrets=secrets, clock=clock),
        liveness=liveness,
        sessions=SessionService(database, liveness, clock),
        user_administration=UserAdministration(database, liveness, tokens, clock),
        account_events=AccountEvents(database),
        data_export=DataExport(database, clock),
        plans=PlanService(database),
        checkouts=CheckoutService(database, stripe, mirror, public_url=settings.public_url),
        licenses=LicenseService(database, secrets, clock, hot_store),
        license_administration=LicenseAdministration(database, secrets, clock, hot_store),
        subscriptions=SubscriptionService(database, stripe, StripeChanges(stripe), mirror),
        activations=ActivationService(database, secrets, clock),
        activation_administration=ActivationAdministration(database, clock),
        api_keys=ApiKeyService(database, secrets, clock),
        audit_trail=AuditTrail(database),
        payments=PaymentService(database),
        usage=usage,
        usage_history=UsageHistoryService(database, clock),
        signature_checker=SignatureChecker(database, secrets, clock),
        webhook_receiver=WebhookReceiver(database, settings.stripe.webhook_secrets, clock),
        webhook_administration=WebhookAdministration(database),
        job_administration=JobAdministration(database, clock),
        reconciliation_reports=ReconciliationReports(database),
        lease_keys=LeaseKeys(database, clock),
    )


class _SignIn(TypedDict):
    """They share one check of passwords."""

    accounts: AccountService
    registrations: Registrations
    credentials: CredentialService
    reset_links: ResetLinks
    email_changes: EmailChanges
    step_ups: StepUpService
    account_deletion: AccountDeletion


def _sign_in(
    database: Database,
    *,
    tokens: TokenIssuer,
    liveness: Liveness,
    passwords: Passwords,
    secrets: Secrets,
    clock: Clock,
) -> _SignIn:
    sign_ins, mails = SignIns(tokens, secrets, clock), Mails(secrets)
    check = PasswordCheck(
        database,
        liveness=liveness,
        passwords=passwords,
        counter=GuessCounter(secrets.index, clock),
        devices=sign_ins.devices,
    )
    reset_links = ResetLinks(database, mails, secrets, clock)
    return _SignIn(
        accounts=AccountService(
            database, liveness=liveness, check=check, sign_ins=sign_ins, secrets=secrets, clock=clock
        ),
        registrations=Registrations(database, liveness=liveness, passwords=passwords, mails=mails, clock=clock),
        credentials=CredentialService(
            database,
            liveness=liveness,
            passwords=passwords,
            check=check,
            sign_ins=sign_ins,
            mails=mails,
            clock=clock,
        ),
        reset_links=reset_links,
        email_changes=EmailChanges(
            database, liveness=liveness, check=check, mails=mails, reset_links=reset_links, clock=clock
        ),
        account_deletion=AccountDeletion(database, liveness=liveness, check=check, mails=mails, clock=clock),
        step_ups=StepUpService(database, liveness=liveness, check=check, tokens=tokens, secrets=secrets, clock=clock),
    )
