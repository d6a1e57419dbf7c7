"""The one file that wires the billing API: settings in, a Litestar application out."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from litestar import Litestar, Request, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.plugins.prometheus import PrometheusConfig
from litestar.routes import HTTPRoute
from litestar.status_codes import HTTP_204_NO_CONTENT
from redis.asyncio import Redis

from billing_api import health, observability, problems
from billing_api.access import Permission, Principal, TokenIssuer
from billing_api.accounts.controller import (
    AuthController,
    MeController,
    RefreshCookie,
    show_verification,
    verify_by_form,
)
from billing_api.accounts.service import AccountService
from billing_api.activation.controller import AdminActivationController, LicenseActivationController, activate
from billing_api.activation.service import ActivationAdministration, ActivationService
from billing_api.answer_headers import answer_headers
from billing_api.api_keys.controller import ApiKeyController, LicenseApiKeyController
from billing_api.api_keys.service import ApiKeyService, SignatureChecker
from billing_api.audit.controller import AdminAuditController, LicenseEventController
from billing_api.audit.service import AuditTrail
from billing_api.auth import Authentication, guard, needs_step_up
from billing_api.caller import Caller
from billing_api.checkout.controller import CheckoutController, checkout_return
from billing_api.checkout.service import CheckoutService
from billing_api.client_address import caller
from billing_api.credentials.controller import PAGES as CREDENTIAL_PAGES
from billing_api.credentials.controller import EmailController, MyCredentialsController, PasswordController
from billing_api.credentials.email_changes import EmailChanges
from billing_api.credentials.reset_links import ResetLinks
from billing_api.credentials.service import CredentialService
from billing_api.gateways.stripe import StripeGateway
from billing_api.gateways.stripe_changes import StripeChanges
from billing_api.idempotency import Once
from billing_api.jobs.controller import AdminJobController
from billing_api.jobs.service import JobAdministration
from billing_api.licenses.controller import AdminLicenseController, LicenseController
from billing_api.licenses.service import LicenseAdministration, LicenseService
from billing_api.limits import Limits
from billing_api.mirror.service import Mirror
from billing_api.oauth.controller import OAuthClientController, grant_token
from billing_api.oauth.service import ClientTokens, OAuthClientService
from billing_api.passwords import Passwords
from billing_api.payments.controller import InvoiceController, PaymentController
from billing_api.payments.service import PaymentService
from billing_api.plans.controller import PlanController
from billing_api.plans.service import PlanService
from billing_api.privacy.controller import PrivacyController
from billing_api.privacy.service import AccountDeletion, DataExport
from billing_api.reconciliation.controller import AdminReconciliationController
from billing_api.reconciliation.service import ReconciliationReports
from billing_api.second_factor.controller import SecondFactorController
from billing_api.second_factor.service import SecondFactorService
from billing_api.sessions.controller import SessionController
from billing_api.sessions.liveness import Liveness
from billing_api.sessions.service import SessionService
from billing_api.sign_in_wiring import sign_in_services
from billing_api.step_up.controller import step_up
from billing_api.step_up.service import StepUpService
from billing_api.strict_request import StrictRequest
from billing_api.subscriptions.controller import SubscriptionController
from billing_api.subscriptions.service import SubscriptionService
from billing_api.swagger import SwaggerPage
from billing_api.usage.controller import report_usage
from billing_api.usage.fast_path import FastPath
from billing_api.usage.holds import Holds
from billing_api.usage.recording import Recording
from billing_api.usage.service import UsageService
from billing_api.usage_history.controller import AdminUsageHistoryController, UsageHistoryController
from billing_api.usage_history.service import UsageHistoryService
from billing_api.users.controller import AccountEventController, AdminUserController
from billing_api.users.service import AccountEvents, UserAdministration
from billing_api.webhooks.controller import AdminWebhookController, receive_stripe_event
from billing_api.webhooks.service import WebhookAdministration, WebhookReceiver
from core.clock import Clock, utc_now
from core.hotstore.access import AccessStore
from core.hotstore.reader import HotStoreReader
from core.hotstore.writer import HotStoreWriter
from core.settings import ApiSettings
from db.engine import create_engine
from db.unit_of_work import Database

MAX_BODY_BYTES = 1_000_000
EXPOSED_HEADERS = ("Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")
"""What scripts of other origins may read of an answer, beside its body."""


@dataclass(frozen=True)
class Services:
    """Everything a handler may ask for, each under its field's name."""

    database: Database
    accounts: AccountService
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


def create_app(settings: ApiSettings, clock: Clock = utc_now) -> Litestar:
    cookie = RefreshCookie.configured(settings)
    prometheus = PrometheusConfig(app_name="billing_api", prefix="billing_api", group_path=True)
    app = Litestar(
        route_handlers=[
            _api(),
            checkout_return,
            show_verification,
            verify_by_form,
            *CREDENTIAL_PAGES,
            health.live,
            health.ready,
        ],
        dependencies={
            **{field.name: _service(field.name) for field in fields(Services)},
            "principal": Provide(_principal, sync_to_thread=False),
            "request_id": Provide(_request_id, sync_to_thread=False),
            "caller": Provide(_caller, sync_to_thread=False),
            "once": Provide(_once),
            "refresh_cookie": Provide(lambda: cookie, sync_to_thread=False),
        },
        guards=[guard],
        middleware=[
            observability.request_context,
            prometheus.middleware,
            DefineMiddleware(Authentication),
        ],
        exception_handlers=problems.HANDLERS,
        before_send=[answer_headers(settings.environment)],
        lifespan=[_wired(settings, clock)],
        state=State(
            {
                "settings": settings,
                "tokens": TokenIssuer(settings.jwt_keys, clock),
                "clock": clock,
                "staff_second_factor": settings.staff_second_factor,
            }
        ),
        cors_config=CORSConfig(
            allow_origins=sorted(cookie.origins), allow_credentials=True, expose_headers=list(EXPOSED_HEADERS)
        ),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=_openapi(),
        logging_config=None,
        debug=False,
    )
    app.asgi_handler = FastPath(app.asgi_handler, app.state, counted_by=prometheus, most_bytes=MAX_BODY_BYTES)
    require_permissions(app)
    _document_errors(app)
    return app


def _api() -> Router:
    return Router(
        path="/api/v1",
        route_handlers=[
            AuthController,
            PasswordController,
            EmailController,
            MeController,
            MyCredentialsController,
            SecondFactorController,
            step_up,
            OAuthClientController,
            grant_token,
            SessionController,
            AccountEventController,
            PrivacyController,
            PlanController,
            CheckoutController,
            LicenseController,
            LicenseActivationController,
            LicenseApiKeyController,
            LicenseEventController,
            ApiKeyController,
            activate,
            UsageHistoryController,
            SubscriptionController,
            InvoiceController,
            PaymentController,
            report_usage,
            receive_stripe_event,
            AdminUserController,
            AdminLicenseController,
            AdminActivationController,
            AdminAuditController,
            AdminUsageHistoryController,
            AdminWebhookController,
            AdminJobController,
            AdminReconciliationController,
        ],
    )


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="NextPanel billing",
        version="1",
        description="Licences for NextPanel and domain names. Errors are application/problem+json (RFC 9457).",
        path="/schema",
        render_plugins=[SwaggerPage()],
        openapi_router=Router(
            "/schema", route_handlers=[], opt={"permission": Permission.PUBLIC}, include_in_schema=False
        ),
    )


def _wired(settings: ApiSettings, clock: Clock) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        database = Database(create_engine(settings.database_url, name="billing_api"))
        stripe = StripeGateway(settings.stripe)
        passwords = Passwords.shared_by(settings.processes)
        redis = Redis.from_url(settings.redis_url)
        hot_store = HotStoreReader(redis)
        queue_redis = Redis.from_url(settings.queue_redis_url)
        access_store = AccessStore(queue_redis)
        app.state.limits = Limits(access_store, settings.limits)
        app.state.liveness = liveness = Liveness(database, access_store, clock)
        usage = UsageService(Recording(database, Holds(HotStoreWriter(redis)), clock), settings.secrets, clock)
        app.state.services = _services(
            settings, clock, database, stripe, passwords, hot_store, usage, app.state.tokens, liveness
        )
        try:
            yield
        finally:
            await usage.close()
            await app.state.services.signature_checker.last_use.written()
            passwords.close()
            await queue_redis.aclose()
            await redis.aclose()
            await stripe.close()
            await database.close()

    return lifespan


def _services(
    settings: ApiSettings,
    clock: Clock,
    database: Database,
    stripe: StripeGateway,
    passwords: Passwords,
    hot_store: HotStoreReader,
    usage: UsageService,
    tokens: TokenIssuer,
    liveness: Liveness,
) -> Services:
    secrets = settings.secrets
    mirror = Mirror(database, stripe, secrets, clock)
    return Services(
        database=database,
        **sign_in_services(
            database, tokens=tokens, liveness=liveness, passwords=passwords, secrets=secrets, clock=clock
        ),
        second_factor=SecondFactorService(database, secrets, clock),
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
        webhook_receiver=WebhookReceiver(database, settings.stripe.webhook_secrets),
        webhook_administration=WebhookAdministration(database),
        job_administration=JobAdministration(database, clock),
        reconciliation_reports=ReconciliationReports(database),
    )


def _service(name: str) -> Provide:
    def provide(state: State) -> Any:
        return getattr(state.services, name)

    return Provide(provide, sync_to_thread=False)


def _principal(request: Request[Any, Any, Any]) -> Principal:
    principal: Principal = request.user
    return principal


def _caller(request: Request[Any, Any, Any]) -> Caller:
    return caller(request)


def _request_id(request: Request[Any, Any, Any]) -> str:
    return str(request.state.request_id)


async def _once(request: Request[Any, Any, Any]) -> Once:
    """The claim of this request under its Idempotency-Key; one caller's keys never meet another's."""
    principal: Principal = request.user
    settings: ApiSettings = request.app.state.settings
    return Once(
        settings.secrets.sealer,
        scope=f"{principal.user_id} {request.method} {request.scope['path']}",  # with its ids: each thing has its own
        key=request.headers.get("idempotency-key"),
        body=await request.body(),
        user_id=principal.user_id,
    )


def require_permissions(app: Litestar) -> None:
    """A route that declares no permission is a mistake that must not reach anybody."""
    for path, handler in _handlers(app):
        if "permission" not in handler.opt:
            raise RuntimeError(f"{path} declares no permission: {handler}")


def _document_errors(app: Litestar) -> None:
    """Litestar documents answers handler by handler; ours refuse all alike. The document is made on first demand."""
    for path, handler in _handlers(app):
        if path.startswith("/api/"):
            common = problems.DOCUMENTED | (problems.STEP_UP_DOCUMENTED if needs_step_up(handler) else {})
            if handler.status_code == HTTP_204_NO_CONTENT:
                common = {HTTP_204_NO_CONTENT: ResponseSpec(None, description="Done; there is nothing to say")} | common
            handler.responses = common | dict(handler.responses or {})


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from (
                (route.path, handler) for handler in route.route_handlers if "OPTIONS" not in handler.http_methods
            )
