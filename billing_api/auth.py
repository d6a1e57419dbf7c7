"""The door: reads the caller's access token, and holds every route's declared permission against the caller's role.

An application in which a route declares no permission does not start.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from typing_extensions import override

from billing_api.access import PERMISSIONS, Permission, Principal, TokenIssuer
from core.errors import Forbidden, Unauthenticated


class Authentication(AbstractAuthenticationMiddleware):
    """Reads the bearer token, if there is one. Whether one is needed is the guard's business."""

    @override
    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return AuthenticationResult(user=None, auth=None)
        tokens: TokenIssuer = connection.app.state.tokens
        try:
            return AuthenticationResult(user=tokens.read(token.strip()), auth=None)
        except Unauthenticated as refusal:
            # Kept for the guard: a public route (login, refresh) is open to somebody whose old token has expired.
            return AuthenticationResult(user=None, auth=refusal)


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The one guard of the application: holds the route's declared permission against the caller's role."""
    if isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}:
        return  # Litestar's own, on every path: tells which methods there are and nothing else
    needed = declared_permission(handler)
    if needed in {Permission.PUBLIC, Permission.SIGNED}:
        return
    principal: Principal | None = connection.user
    if principal is None:
        raise connection.auth or Unauthenticated
    if needed not in PERMISSIONS[principal.role]:
        raise Forbidden


def declared_permission(handler: BaseRouteHandler) -> Permission:
    return Permission(handler.opt["permission"])
