"""Routing: from a request to its handler, by path, method and media type; and from a refusal to its response."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog

from core import query
from core.errors import (
    Internal,
    LengthRequired,
    MethodNotAllowed,
    Refusal,
    RouteNotFound,
    SignatureFault,
    UnsupportedMediaType,
)
from core.field_errors import invalid, unknown
from core.headers import JSON, is_json
from core.resp.waiting import Reply, Work
from validator.http.answers import Letterhead
from validator.http.problems import UNREADABLE
from validator.http.protocol import ProtocolFault, Request
from validator.http.rate_limit_headers import SignatureFailures
from validator.metrics import Tally

Handler = Callable[[Request], bytes | Work[bytes] | Reply[bytes | Exception]]

PREFIX: Final = b"/api/v1/nextpanel/"
_STRICT: Final = b"/api/v1/"
"""Under this path an unknown query name is refused, never ignored."""

log = structlog.get_logger()


class Route(NamedTuple):
    method: bytes
    handler: Handler


class Routes:
    def __init__(
        self, table: Mapping[bytes, Route], letterhead: Letterhead, tally: Tally, failures: SignatureFailures
    ) -> None:
        self._table = dict(table)
        self._failures = failures
        self._letterhead = letterhead
        self._tally = tally

    def respond(self, request: Request) -> bytes | Work[bytes] | Reply[bytes | Exception]:
        """The answer, or the coroutine that makes it. Raises Refusal if there is no route, or its handler refuses."""
        route = self._table.get(request.target) or self._find(request)
        if route.method != request.method:
            _check_method(route, request)
        if route.method == b"POST" and (not request.body or request.headers.get(b"content-type") != JSON):
            _check_content(request)
        return route.handler(request)

    def refuse(self, fault: Exception, request: Request) -> bytes:
        """The answer to an exception of a handler."""
        if isinstance(fault, SignatureFault):
            try:
                self._failures.count(request)
            except Refusal as refusal:
                fault = refusal
        return self._told(fault)

    def _told(self, fault: Exception) -> bytes:
        if not isinstance(fault, Refusal):
            log.error("handler.crashed", exc_info=fault)
            fault = Internal()
        self._tally.problems[fault.status, fault.code] += 1
        return self._letterhead.problem(fault)

    def malformed(self, fault: ProtocolFault) -> bytes:
        return self._told(UNREADABLE[fault.status](fault.detail))

    def _find(self, request: Request) -> Route:
        """The route of a target that has a query; our calls have none."""
        path, _, asked = request.target.partition(b"?")
        route = self._table.get(path)
        if route is None:
            raise RouteNotFound
        _check_method(route, request)
        if not asked:
            request.target = path  # a lone question mark is no query; the billing API does not see it either
        elif path.startswith(_STRICT) and (pairs := query.pairs(asked)):
            raise invalid([unknown(name, ()) for name in dict(pairs)])
        return route


def _check_method(route: Route, request: Request) -> None:
    if route.method != request.method and not (route.method == b"GET" and request.method == b"HEAD"):
        raise MethodNotAllowed("GET, HEAD" if route.method == b"GET" else route.method.decode())


def _check_content(request: Request) -> None:
    if b"content-length" not in request.headers and b"transfer-encoding" not in request.headers:
        raise LengthRequired
    if not is_json(request.headers.get(b"content-type", JSON)):
        raise UnsupportedMediaType
