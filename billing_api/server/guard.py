"""Authentication and authorization: reads the access token and checks the route's permission for its role or scopes.

Before that the guard checks the rate limits and whether the session is still live. The application does not start if a
route declares no permission. A route with `step_up=True` is closed to a sign-in that is older than five minutes, and to
one without the second factor if the account has one.
"""

from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from typing_extensions import override

from billing_api.access.client_address import client_address
from billing_api.access.permissions import Permission, Principal, may, missing_scope, require_second_factor
from billing_api.access.rate_limits import RateLimiter
from billing_api.access.tokens import ClientToken, ServiceAccountToken, TokenIssuer
from billing_api.identity.oauth.service_accounts import ServiceAccountTokens
from billing_api.identity.sessions.liveness import Liveness, is_cached
from billing_api.web.single_headers import require_single
from core.errors import Forbidden, InsufficientScope, NetworkNotAllowed, Refusal, Unauthenticated

_FIRST_SIGN_IN: Final = (
    "there is no access token: sign in with POST auth/login, and send its `access_token` as Authorization: Bearer"
)
_FOR_PEOPLE: Final = "no scope gives a program this right: let a person do it, signed in with POST auth/login"
_READS: Final = frozenset({"GET", "HEAD"})


class Authentication(AbstractAuthenticationMiddleware):
    """Reads the bearer token, if there is one. The guard decides whether one is needed."""

    @override
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return AuthenticationResult(user=None, auth=None)
        api = connection.app.state.api
        tokens: TokenIssuer = api.infrastructure.tokens
        try:
            holder = tokens.holder(token.strip())
            if isinstance(holder, ClientToken):
                return AuthenticationResult(await api.services.identity.client_tokens.principal(holder), None)
            if isinstance(holder, ServiceAccountToken):
                accounts: ServiceAccountTokens = api.services.identity.service_account_tokens
                return AuthenticationResult(await accounts.principal(holder, client_address(connection)), None)
            return AuthenticationResult(user=holder, auth=None)
        except (Unauthenticated, NetworkNotAllowed) as refusal:
            # Not raised here: a public route (login, refresh) is open to a client whose old token has expired.
            return AuthenticationResult(user=None, auth=refusal)


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The only guard of the application. It refuses too many requests, ended sessions and missing permissions.

    The rate limits come first, so that requests which are refused afterwards count too.
    """
    if isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}:
        return  # Litestar's own route, on every path: it answers which methods there are and nothing else
    needed = declared_permission(handler)
    require_single(connection.scope["headers"])
    # Rate limits.
    principal: Principal | None = connection.user
    api = connection.app.state.api
    limits: RateLimiter = api.limits
    is_open = needed in {Permission.PUBLIC, Permission.SIGNED}
    # A client of OAuth has no session; it was looked up with its token.
    has_session = principal is not None and principal.client_id is None
    seen = await limits.enforce(
        connection,
        principal,
        signed=needed is Permission.SIGNED,
        look=has_session and not is_open and principal is not None and is_cached(principal),
    )
    # Authentication: a valid token of a live session.
    if is_open:
        return
    if principal is None:
        raise connection.auth or Unauthenticated(_FIRST_SIGN_IN)
    liveness: Liveness = api.infrastructure.liveness
    if has_session:
        await liveness.judge(principal, seen)
    # Authorization: the permission, then the factors that the route asks for.
    if not may(principal, needed, reads=_only_reads(handler)):
        raise _refusal(principal, needed)
    if principal.is_service_account:  # it has no factors: its secret cannot be guessed, and people alone step up
        if needs_step_up(handler):
            raise Forbidden(_FOR_PEOPLE)
    else:
        await _require_factors(connection, principal, handler)


async def _require_factors(
    connection: ASGIConnection[Any, Any, Any, Any], principal: Principal, handler: BaseRouteHandler
) -> None:
    api = connection.app.state.api
    if declared_permission(handler).is_for_staff and api.settings.staff_second_factor:
        require_second_factor(principal)
    if needs_step_up(handler):
        liveness: Liveness = api.infrastructure.liveness
        await liveness.require_step_up(principal)


def _refusal(principal: Principal, needed: Permission) -> Refusal:
    scope = missing_scope(principal, needed)
    if scope is not None:
        return InsufficientScope(scope)
    if principal.client_id is not None:
        return Forbidden(_FOR_PEOPLE)
    return Forbidden()


def _only_reads(handler: BaseRouteHandler) -> bool:
    return isinstance(handler, HTTPRouteHandler) and handler.http_methods <= _READS


def declared_permission(handler: BaseRouteHandler) -> Permission:
    return Permission(handler.opt["permission"])


def needs_step_up(handler: BaseRouteHandler) -> bool:
    return bool(handler.opt.get("step_up", False))
