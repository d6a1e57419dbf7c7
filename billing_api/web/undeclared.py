"""Undeclared input: query parameters and bodies that a route does not declare are refused, never ignored.

An ignored filter (misspelled, or one of another route) would list everything. An ignored body would look obeyed:
`cancel {"at": "now"}` was answered 200, and the subscription ended only with its period.

The declarations of all routes are collected once, when the application starts. A request pays only for a check of its
query, if it has one, and of its body, if the route reads none. JSON clients send `{}` for "no body", so it is allowed.

The rule holds under /api/v1, with these exceptions:

- webhooks/*: we cannot change what their senders send.
- Pages that users open from mails, or return to from Stripe: mail programs and Stripe add parameters of their own.
- Health, metrics and the OpenAPI document.
- The form of oauth/token: RFC 6749 (3.2) says that unknown parameters are ignored. Its query is checked.

Unknown fields inside a JSON body are refused by the types of the bodies: all of them forbid unknown fields.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.routes import HTTPRoute

from billing_api.web.parameters import INSTANT
from core import query
from core.errors import FieldError
from core.field_errors import BODY, extra, invalid, missing, of_something, sayable, text_fault, unknown

_UNDER: Final = "/api/v1/"
_EXEMPT: Final = "/api/v1/webhooks/"
_DECLARED: Final = "declared"
_MAX_EMPTY_BODY: Final = 64
"""Bytes: an empty object with some white space."""


class DeclaredInput(msgspec.Struct, frozen=True):
    """What one route accepts. `names`: its query parameters, each with the type of its value."""

    names: Mapping[str, Any]
    required: frozenset[str]
    several: frozenset[str]
    """Names that may be sent more than once."""
    reads_body: bool


def collect_declarations(routes: Iterable[HTTPRoute]) -> None:
    """Stores in each handler's `opt` what it declares. `reads_body=True`: the handler reads the bytes itself."""
    for route in routes:
        for handler, model in set(route.route_handler_map.values()):
            if not route.path.startswith(_UNDER) or route.path.startswith(_EXEMPT):
                continue
            types = _types_of(handler)
            expected = model.expected_query_params
            handler.opt[_DECLARED] = DeclaredInput(
                names={one.field_alias: _value_type(types.get(one.field_name, str)) for one in expected},
                required=frozenset(one.field_alias for one in expected if one.is_required),
                several=frozenset(one.field_alias for one in expected if one.is_sequence),
                reads_body=handler.parsed_data_field is not None or bool(handler.opt.get("reads_body")),
            )


def _types_of(handler: HTTPRouteHandler) -> Mapping[str, Any]:
    """The types of what a handler and the dependencies that it asks for declare."""
    mine = handler.signature_model.__annotations__
    asked = (provider for name, provider in handler.resolve_dependencies().items() if name in mine)
    return {name: kind for provider in asked for name, kind in provider.signature_model.__annotations__.items()} | mine


def _value_type(declared: Any) -> Any:
    """The type of a value that was sent. `null` is not accepted: a filter by nothing would list everything.

    Handlers declare instants as text and read them later (billing_api/web/parameters.py). Here they are checked with
    the other values, so that one answer names all errors.
    """
    given = of_something(declared)
    return INSTANT if extra(given, "format") == "date-time" else given


async def refuse_undeclared(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """InvalidInput names everything that the route does not know."""
    declared: DeclaredInput | None = handler.opt.get(_DECLARED)
    if declared is None or not isinstance(connection, Request) or _is_options_only(handler):
        return
    raw: bytes = connection.scope["query_string"]
    faults = list(_query_faults(raw, declared)) if raw or declared.required else []
    if not declared.reads_body and _has_body(connection) and not _is_empty(await connection.body()):
        faults.append(FieldError(BODY, "is not read here: send none, or {}", "unknown", {"known": []}))
    if faults:
        raise invalid(faults)


def _query_faults(raw: bytes, declared: DeclaredInput) -> Sequence[FieldError]:
    """All faults at once."""
    pairs = query.pairs(raw)
    counted = Counter(name for name, _ in pairs)
    faults = [unknown(name, list(declared.names)) for name in counted if name not in declared.names]
    faults += [
        FieldError(sayable(name), "is there more than once: send it once", "repeated")
        for name, number in counted.items()
        if number > 1 and name in declared.names and name not in declared.several
    ]
    faults += [missing(name) for name in sorted(declared.required) if name not in counted]
    known = [(name, value) for name, value in pairs if name in declared.names and name not in declared.several]
    values = (text_fault(value, declared.names[name], name) for name, value in known)
    return [*faults, *(fault for fault in values if fault is not None)]


def value_faults(raw: bytes, handler: BaseRouteHandler) -> Sequence[FieldError]:
    """Faults of query values that the framework refused, in the form that faults of bodies have."""
    declared: DeclaredInput | None = handler.opt.get(_DECLARED)
    if declared is None:
        return ()
    found = (
        text_fault(value, declared.names[name], name) for name, value in query.pairs(raw) if name in declared.names
    )
    return [fault for fault in found if fault is not None]


def _has_body(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _is_empty(body: bytes) -> bool:
    if not body:
        return True
    try:
        return len(body) <= _MAX_EMPTY_BODY and msgspec.json.decode(body) == {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _is_options_only(handler: BaseRouteHandler) -> bool:
    return isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}
