"""OpenAPI document: operation ids, the order of tags, and what authenticates each operation.

An operation id is its handler's name in camel case (`list_licenses` → `listLicenses`). Generated clients name their
methods after it, so names of handlers are unique. The application does not start otherwise.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from http import HTTPMethod
from typing import Any, Final

from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, OAuthFlow, OAuthFlows, Reference, SecurityScheme, Tag

from billing_api.access.permissions import SCOPES, STAFF_SCOPES, Permission
from billing_api.server.openapi_document import OpenApiJson
from billing_api.web.swagger import SwaggerPage, get_swagger_asset

_ABOUT: Final = """Licenses for NextPanel: buying, issuing, activating and metering them.

- **Errors** are `application/problem+json` (RFC 9457). Decide by `code`; `type` leads to what it means and what to do.
- **Nothing is ignored**: unknown query parameters and body fields are refused with 400.
- **Orders** take an `Idempotency-Key`, so that they may be sent again.
- **Lists** come in pages: `limit`, and `cursor` with the `next_cursor` of the page before.
- **Instants** are RFC 3339 in UTC; **money** is an integer of minor units with its currency; **ids** are UUIDs.
- **Limits**: `RateLimit` says what is left; 429 says when to come again."""
_BEARER: Final = "accessToken"
_CLIENT: Final = "oauthClient"
_SERVICE_ACCOUNT: Final = "serviceAccount"
_SIGNATURE: Final = "signature"

TAGS: Final = {
    "accounts": "Open an account, sign in, and change what it says of you.",
    "portal": "What a page needs in one call.",
    "second factor": "An authenticator app beside the password, and its recovery codes.",
    "oauth": "Programs of yours that read your account, within scopes (OAuth 2.0 client credentials).",
    "plans": "What is on offer.",
    "checkout": "Buy a license: a payment page at Stripe, and what came of it.",
    "licenses": "Your licenses: keys, limits, use, activation.",
    "api keys": "Keys with which a panel signs its calls for a license.",
    "subscriptions": "Change the plan, end it, or let it go on.",
    "payments": "Invoices, payments and cards.",
    "nextpanel": "What a panel calls: activation, usage reports, and the keys of offline leases.",
    "admin": "For staff: customers, licenses, jobs, received webhooks, the audit trail.",
    "webhooks": "What Stripe calls.",
    "plumbing": "Health of the process.",
}
"""In the order in which a reader meets them."""

_SCOPE_TEXTS: Final = {scope.value: f"read your {scope.value.partition(':')[0]}" for scope in SCOPES}


_STAFF_SCOPE_TEXTS: Final = {
    scope.value: f"{'change' if scope.value.endswith(':write') else 'read'} any {scope.value.partition(':')[0]}"
    for scope in STAFF_SCOPES
}


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="NextPanel billing",
        version="1",
        description=_ABOUT,
        path="/schema",
        render_plugins=[SwaggerPage(), OpenApiJson()],
        openapi_router=Router(
            "/schema",
            route_handlers=[get_swagger_asset],
            opt={"permission": Permission.PUBLIC},
            include_in_schema=False,
        ),
        operation_id_creator=_operation_id,
        tags=[Tag(name, text) for name, text in TAGS.items()],
        components=Components(security_schemes=_security_schemes()),
    )


def _security_schemes() -> dict[str, SecurityScheme | Reference]:
    return {
        _BEARER: SecurityScheme(
            type="http",
            scheme="bearer",
            bearer_format="JWT",
            description="The access_token that POST auth/login, auth/mfa or auth/refresh answers; 15 minutes.",
        ),
        _CLIENT: _program("A program's access token, for what its owner may read (RFC 6749, 4.4).", _SCOPE_TEXTS),
        _SERVICE_ACCOUNT: _program(
            "A service account's access token: a program of the seller, with scopes of staff.",
            _STAFF_SCOPE_TEXTS,
        ),
        _SIGNATURE: SecurityScheme(
            type="apiKey",
            name="NP-Signature",
            security_scheme_in="header",
            description=(
                "An API key's signature of method, target, Idempotency-Key and body (HMAC-SHA256). The Python "
                "client makes it; docs/signature-vectors.json has examples for other languages."
            ),
        ),
    }


def _program(description: str, scopes: dict[str, str]) -> SecurityScheme:
    flow = OAuthFlow(token_url="/api/v1/oauth/token", scopes=scopes)  # noqa: S106  an address
    return SecurityScheme(type="oauth2", description=description, flows=OAuthFlows(client_credentials=flow))


def document_security(handlers: Iterable[tuple[str, HTTPRouteHandler]]) -> None:
    """Says of each operation what authenticates it, as its declared permission has it."""
    for path, handler in handlers:
        if path.startswith("/api/"):
            handler.security = _security(path, Permission(handler.opt["permission"]))


def require_names(handlers: Iterable[tuple[str, HTTPRouteHandler]]) -> None:
    """RuntimeError where two operations would have the same id."""
    names = Counter(handler.handler_name for path, handler in handlers if path.startswith("/api/"))
    if twice := sorted(name for name, number in names.items() if number > 1):
        raise RuntimeError(f"operation ids must be unique: rename one of the handlers called {', '.join(twice)}")


def _operation_id(handler: HTTPRouteHandler, _method: HTTPMethod | str, _parts: Sequence[Any]) -> str:
    first, *rest = handler.handler_name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _security(path: str, permission: Permission) -> list[dict[str, list[str]]]:
    if permission is Permission.PUBLIC:
        return []
    if permission is Permission.SIGNED:
        return [{_SIGNATURE: []}] if "webhooks" not in path else []
    scopes = [scope.value for scope, opened in SCOPES.items() if opened is permission]
    of_staff = [scope.value for scope, opened in STAFF_SCOPES.items() if opened is permission]
    programs = [{_CLIENT: [scope]} for scope in scopes] + [{_SERVICE_ACCOUNT: [scope]} for scope in of_staff]
    return [{_BEARER: []}, *programs]
