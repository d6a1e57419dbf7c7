"""Litestar application: routes, dependencies, and the middleware and guards around every handler."""

from collections.abc import Iterator
from typing import Annotated, Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter
from litestar.routes import HTTPRoute
from litestar.status_codes import HTTP_204_NO_CONTENT
from typing_extensions import override

from billing_api.access.caller import Caller
from billing_api.access.client_address import caller
from billing_api.access.permissions import Permission, Principal
from billing_api.access.rate_limits import RateLimiter, declared_failures, declared_limit
from billing_api.identity.sessions.cookies import RefreshCookie
from billing_api.licensing.usage.fast_path import FastPath
from billing_api.server.body_timeout import BodyTimeouts
from billing_api.server.draining import with_connection_close
from billing_api.server.guard import Authentication, guard, needs_step_up
from billing_api.server.head_requests import as_get
from billing_api.server.openapi_config import document_security, openapi_config, require_names
from billing_api.server.reference.operations import document_texts
from billing_api.server.request_layer import request_layer
from billing_api.server.routes import ROUTES
from billing_api.server.wiring.services import ROOM_OF, services_lifespan
from billing_api.web import problems, undeclared
from billing_api.web.paging import canonical_path, requested_paging
from billing_api.web.parameters import IDEMPOTENCY_KEY
from billing_api.web.security_headers import answer_headers, api_headers
from billing_api.web.strict_request import StrictRequest
from billing_api.web.undeclared import refuse_undeclared
from core.clock import Clock, utc_now
from core.health import Readiness
from core.parts import Parts
from core.settings import LIMITS, ApiSettings
from db.idempotency import Once

MAX_BODY_BYTES = 1_000_000
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description=IDEMPOTENCY_KEY,
    ),
]
EXPOSED_HEADERS = ("Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id")
"""The headers of an answer that scripts of other origins may read."""


class BillingApi(Litestar):
    """Litestar, with a fast path before it for the one call that is made thousands of times a second."""

    fast_path: FastPath
    body_timeouts: BodyTimeouts
    parts: Parts
    readiness: Readiness

    @override
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == ScopeType.HTTP:
            receive = self.body_timeouts.bounded(receive)
            if self.readiness.draining:
                send = with_connection_close(send)
            if scope["method"] == "HEAD":
                scope, send = as_get(scope, send)
        await self.fast_path(scope, receive, send)

    async def call_litestar(self, scope: Any, receive: Any, send: Any) -> None:
        """The normal path: what the fast path does not answer itself."""
        await super().__call__(scope, receive, send)


def create_app(settings: ApiSettings, clock: Clock = utc_now) -> BillingApi:
    parts = Parts()
    readiness = Readiness(lambda: parts.dead)
    cookie = RefreshCookie.configured(settings)
    app = _litestar(settings, clock, parts, readiness, cookie)
    app.body_timeouts = BodyTimeouts()
    app.parts = parts
    app.readiness = readiness
    app.fast_path = FastPath(
        app.call_litestar,
        app.state,
        most_bytes=MAX_BODY_BYTES,
        headers=api_headers(settings.environment),
    )
    declare(app)
    _resolve_in_turn(app)
    return app


def declare(app: Litestar) -> None:
    """Checks and documents all routes: the application does not start with a route that is not declared completely."""
    require_permissions(app)
    require_limits(app)
    undeclared.collect_declarations(route for route in app.routes if isinstance(route, HTTPRoute))
    require_names(_handlers(app))
    document_texts(app)
    _document_errors(app)
    document_security(_handlers(app))


def _litestar(
    settings: ApiSettings, clock: Clock, parts: Parts, readiness: Readiness, cookie: RefreshCookie
) -> BillingApi:
    return BillingApi(
        route_handlers=ROUTES,
        dependencies=dependencies(cookie),
        guards=[guard, refuse_undeclared],
        middleware=[request_layer, DefineMiddleware(Authentication)],
        exception_handlers=problems.HANDLERS,
        before_send=[answer_headers(settings.environment)],
        lifespan=[services_lifespan(settings, clock, parts, readiness)],
        cors_config=CORSConfig(
            allow_origins=sorted(cookie.origins), allow_credentials=True, expose_headers=list(EXPOSED_HEADERS)
        ),
        request_class=StrictRequest,
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=openapi_config(),
        logging_config=None,
        debug=False,
    )


def dependencies(cookie: RefreshCookie) -> dict[str, Provide]:
    """What handlers may ask for by name: every service, and facts of the current request."""
    return {
        **{name: _service(name) for name in ROOM_OF},
        "limits": Provide(_limits, sync_to_thread=False),
        "principal": Provide(_principal, sync_to_thread=False),
        "request_id": Provide(_request_id, sync_to_thread=False),
        "caller": Provide(_caller, sync_to_thread=False),
        "once": Provide(_once),
        "paging": Provide(requested_paging, sync_to_thread=False),
        "refresh_cookie": Provide(lambda: cookie, sync_to_thread=False),
    }


def _service(name: str) -> Provide:
    def provide(state: State) -> Any:
        return state.api.service(name)

    return Provide(provide, sync_to_thread=False)


def _limits(state: State) -> RateLimiter:
    limits: RateLimiter = state.api.limits
    return limits


def _principal(request: Request[Any, Any, Any]) -> Principal:
    principal: Principal = request.user
    return principal


def _caller(request: Request[Any, Any, Any]) -> Caller:
    return caller(request)


def _request_id(request: Request[Any, Any, Any]) -> str:
    return str(request.state.request_id)


async def _once(request: Request[Any, Any, Any], idempotency_key: IdempotencyKey = None) -> Once:
    """The claim of this request under its Idempotency-Key. The keys of different users never collide."""
    principal: Principal = request.user
    settings: ApiSettings = request.app.state.api.settings
    return Once(
        settings.secrets.sealer,
        # With ids: each resource has its own keys.
        scope=f"{principal.user_id} {request.method} {canonical_path(request)}",
        key=idempotency_key,
        body=await request.body(),
        user_id=None if principal.is_service_account else principal.user_id,
    )


def require_permissions(app: Litestar) -> None:
    """RuntimeError where a route declares no permission, so that such a route never gets into production."""
    for path, handler in _handlers(app):
        if "permission" not in handler.opt:
            raise RuntimeError(f"{path} declares no permission: add `permission=` to {handler}")


def require_limits(app: Litestar) -> None:
    """RuntimeError where a route names an unknown limit, or a signed route does not limit wrong signatures."""
    for path, handler in _handlers(app):
        unknown = {declared_limit(handler), declared_failures(handler)} - {None} - LIMITS.keys()
        if unknown:
            raise RuntimeError(f"{path} declares a limit that does not exist: correct {unknown} at {handler}")
        if handler.opt["permission"] is Permission.SIGNED and declared_failures(handler) is None:
            raise RuntimeError(f"{path} is signed and declares no limit of failures: add `failures=` to {handler}")


def _document_errors(app: Litestar) -> None:
    """Adds the common errors to each handler, because Litestar documents answers by handler.

    It runs before the OpenAPI document exists, which is made when it is first asked for.
    """
    for path, handler in _handlers(app):
        if path.startswith("/api/"):
            common = problems.DOCUMENTED | (problems.STEP_UP_DOCUMENTED if needs_step_up(handler) else {})
            if handler.status_code == HTTP_204_NO_CONTENT:
                common = {HTTP_204_NO_CONTENT: ResponseSpec(None, description="Done; the answer is empty")} | common
            handler.responses = common | dict(handler.responses or {})


def _resolve_in_turn(app: Litestar) -> None:
    """Resolves the dependencies of each handler one after another.

    Litestar resolves those that do not depend on one another in a task group, a task for each. Ours look something up
    and wait for nothing, so the tasks cost five times what they run (docs/decisions/0046-short-road.md).
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, model in route.route_handler_map.values():
                model.dependency_batches = [{one} for batch in model.dependency_batches for one in batch]


def _handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from (
                (route.path, handler) for handler in route.route_handlers if "OPTIONS" not in handler.http_methods
            )
