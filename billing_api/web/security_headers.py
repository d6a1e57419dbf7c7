"""Security headers of every answer: Content-Security-Policy, HSTS, no sniffing, no framing, no referrer, no caching.

An answer of this API is data. The policy below lets a browser that shows it as a page load and do nothing. The few
answers that are pages bring a policy of their own: the return from a purchase (commerce/checkout/return_page.py), the
pages behind mailed links (web/link_page.py) and the page of the OpenAPI document (web/swagger.py).
"""

from collections.abc import Mapping
from typing import Final

from litestar.datastructures import MutableScopeHeaders
from litestar.types import BeforeMessageSendHookHandler, Message, Scope

from billing_api.access.rate_limits import rate_limit_headers
from billing_api.web import swagger
from billing_api.web.static_answer import VARY
from core.settings import Environment

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HSTS: Final = "max-age=63072000; includeSubDomains"
"""Two years. The devstack does not send it: it has no TLS, and a browser that obeyed could not reach it any more."""

_ALWAYS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": NOTHING,
}


def api_headers(environment: Environment) -> dict[str, str]:
    """Of every answer under /api/."""
    return common_headers(environment) | {"Cache-Control": "no-store"}


def common_headers(environment: Environment) -> dict[str, str]:
    return dict(_ALWAYS) if environment == "devstack" else {**_ALWAYS, "Strict-Transport-Security": HSTS}


def answer_headers(environment: Environment) -> BeforeMessageSendHookHandler:
    """For Litestar's `before_send`, which sees every answer, also of unknown paths. Headers that are set stay."""
    api, common = api_headers(environment), common_headers(environment)
    swagger_page = common | {"Content-Security-Policy": swagger.POLICY}

    async def complete(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        path: str = scope["path"]
        fixed = swagger_page if path in swagger.PATHS else api if path.startswith("/api/") else common
        headers = MutableScopeHeaders.from_message(message)
        for name, value in fixed.items():
            headers.setdefault(name, value)
        if "etag" in headers:  # the CORS layer has replaced the field that a static answer has
            headers["Vary"] = VARY
        headers.update(rate_limit_headers(scope))

    return complete
