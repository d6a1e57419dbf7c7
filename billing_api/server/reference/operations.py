"""Operations: the handlers that the OpenAPI document describes, and the texts of each.

A handler's docstring is its text. The first line is the summary; what follows is the description. Who may call it, and
how often, is not written by hand: it is added from what the route declares.
"""

import inspect
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.utils.helpers import unwrap_partial

from billing_api.access.permissions import PERMISSIONS, SCOPES, STAFF_SCOPES, Permission
from billing_api.access.rate_limits import declared_limit
from core.counted import counted
from core.settings import LIMITS

ACCESS: Final = "**Who may:** "
"""Begins the part of a description that is made from the route's declarations."""

_STEP_UP: Final = "The sign-in must be at most 5 minutes old (`POST /api/v1/auth/step-up`)."


class Operation(NamedTuple):
    path: str
    """As in the document: with `{license_id}`."""
    method: str
    """In lower case."""
    handler: HTTPRouteHandler


def operations(app: Litestar) -> Iterator[Operation]:
    """Every operation that the document describes."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for method, (handler, _) in route.route_handler_map.items():
            if method != "OPTIONS" and handler.resolve_include_in_schema():
                yield Operation(route.path_format, method.lower(), handler)


def body_type(handler: HTTPRouteHandler) -> Any:
    """`documented_body`: the type of a body that the handler reads itself."""
    field = handler.parsed_data_field
    return handler.opt["documented_body"] if field is None else field.annotation


def document_texts(app: Litestar) -> None:
    """Sets the summary and the description of each handler. It runs before the document exists."""
    for path, _, handler in operations(app):
        text = inspect.cleandoc(unwrap_partial(handler.fn).__doc__ or "")
        if handler.summary is None:
            first, _, text = text.partition("\n")
            handler.summary = first.removesuffix(".") or None
        access = _access(handler) if path.startswith("/api/") else ""
        handler.description = "\n\n".join(part for part in (text.strip(), access) if part) or None


def _access(handler: HTTPRouteHandler) -> str:
    permission = Permission(handler.opt["permission"])
    limit = declared_limit(handler)
    parts = [
        f"{ACCESS}{_callers(permission)}",
        _STEP_UP if handler.opt.get("step_up") else "",
        f"One address may send {_quota(limit)}." if limit else "",
    ]
    return " ".join(part for part in parts if part)


def _quota(limit: str) -> str:
    quota = LIMITS[limit]
    return f"{counted(quota.requests, 'such request')} in {counted(quota.seconds, 'second', ',')}"


def _callers(permission: Permission) -> str:
    if permission is Permission.PUBLIC:
        return "anybody; no token is needed."
    if permission is Permission.SIGNED:
        return "the holder of a key, by the signature of the request; no token is needed."
    roles = [role.value for role, allowed in PERMISSIONS.items() if permission in allowed]
    scopes = [f"`{scope.value}`" for scope, opened in SCOPES.items() if opened is permission]
    people = "every signed-in user, for what is their own" if "customer" in roles else "staff: " + ", ".join(roles)
    of_staff = [f"`{scope.value}`" for scope, opened in STAFF_SCOPES.items() if opened is permission]
    programs = f"; programs with the scope {', '.join(scopes)}" if scopes else ""
    accounts = f"; service accounts with the scope {', '.join(of_staff)}" if of_staff else ""
    return f"{people}{programs}{accounts}."
