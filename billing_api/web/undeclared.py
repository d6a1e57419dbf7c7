"""What a route does not declare is refused, never ignored: names in the query, and bodies.

A filter that is misspelled, or that this route does not have, would otherwise list everything; a body where none is
read would look obeyed: `cancel {"at": "now"}` was answered 200, and cancelled at the end of the period.

What each route declares is collected once, when the application starts; a request pays for a look at its query, if it
has one, and at its body, if none is read and one was sent. Clients of JSON send `{}` for nothing, so that is nothing.

The rule holds under /api/v1, except for webhooks/*, whose senders are not ours to teach. It does not hold for pages
that people open from mails or come back to from Stripe (mail programs and Stripe add names of their own), nor for
health, metrics and the schema. Fields of bodies are refused by their types: all of them forbid unknown fields.
oauth/token reads a form, in which RFC 6749 (3.2) has unknown parameters ignored; its query is held to this rule.
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
_LONGEST_NOTHING: Final = 64


class Declared(msgspec.Struct, frozen=True):
    """What one route takes. `names`: its query's, each with the type of its value."""

    names: Mapping[str, Any]
    required: frozenset[str]
    several: frozenset[str]
    """Names that may stand more than once."""
    reads_body: bool


def collect(routes: Iterable[HTTPRoute]) -> None:
    """Writes down at each handler what it declares. `reads_body=True`: it takes the bytes itself."""
    for route in routes:
        for handler, model in set(route.route_handler_map.values()):
            if not route.path.startswith(_UNDER) or route.path.startswith(_EXEMPT):
                continue
            types = handler.signature_model.__annotations__
            expected = model.expected_query_params
            handler.opt[_DECLARED] = Declared(
                names={one.field_alias: _of_value(types.get(one.field_name, str)) for one in expected},
                required=frozenset(one.field_alias for one in expected if one.is_required),
                several=frozenset(one.field_alias for one in expected if one.is_sequence),
                reads_body=handler.parsed_data_field is not None or bool(handler.opt.get("reads_body")),
            )


def _of_value(declared: Any) -> Any:
    """The type of a value that is there: `null` is none, for a filter by nothing would list everything.

    Instants are declared as text for their handlers to read (billing_api/web/parameters.py); here they are told with
    the rest.
    """
    given = of_something(declared)
    return INSTANT if extra(given, "format") == "date-time" else given


async def refuse_undeclared(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """InvalidInput names everything that the route does not know."""
    declared: Declared | None = handler.opt.get(_DECLARED)
    if declared is None or not isinstance(connection, Request) or _only_options(handler):
        return
    raw: bytes = connection.scope["query_string"]
    faults = list(_of_query(raw, declared)) if raw or declared.required else []
    if not declared.reads_body and _has_body(connection) and not _is_nothing(await connection.body()):
        faults.append(FieldError(BODY, "is not read here: send none, or {}", "unknown", {"known": []}))
    if faults:
        raise invalid(faults)


def _of_query(raw: bytes, declared: Declared) -> Sequence[FieldError]:
    """All faults at once."""
    pairs = query.pairs(raw)
    counted = Counter(name for name, _ in pairs)
    faults = [unknown(name, list(declared.names)) for name in counted if name not in declared.names]
    faults += [
        FieldError(sayable(name), "stands more than once", "repeated")
        for name, number in counted.items()
        if number > 1 and name in declared.names and name not in declared.several
    ]
    faults += [missing(name) for name in sorted(declared.required) if name not in counted]
    known = [(name, value) for name, value in pairs if name in declared.names and name not in declared.several]
    values = (text_fault(value, declared.names[name], name) for name, value in known)
    return [*faults, *(fault for fault in values if fault is not None)]


def value_faults(raw: bytes, handler: BaseRouteHandler) -> Sequence[FieldError]:
    """Of values that the framework found not to fit: told as those of bodies are."""
    declared: Declared | None = handler.opt.get(_DECLARED)
    if declared is None:
        return ()
    found = (
        text_fault(value, declared.names[name], name) for name, value in query.pairs(raw) if name in declared.names
    )
    return [fault for fault in found if fault is not None]


def _has_body(request: Request[Any, Any, Any]) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _is_nothing(body: bytes) -> bool:
    if not body:
        return True
    try:
        return len(body) <= _LONGEST_NOTHING and msgspec.json.decode(body) == {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _only_options(handler: BaseRouteHandler) -> bool:
    return isinstance(handler, HTTPRouteHandler) and handler.http_methods == {"OPTIONS"}
