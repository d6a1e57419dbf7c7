"""What every answer tells a browser: guess no types, show it in no frame, load nothing, keep nothing, name nobody.

An answer of this API is data. The policy below lets a browser that shows it as a page do nothing with it. The few that
are pages bring a policy of their own: the two of the purchase and the mail (checkout/return_page.py,
accounts/verification_page.py) and the interface's description (swagger.py).
"""

from collections.abc import Mapping
from typing import Final

from litestar.datastructures import MutableScopeHeaders
from litestar.types import BeforeMessageSendHookHandler, Message, Scope

from billing_api.access import rate_limits as limits
from billing_api.web import swagger
from core.settings import Environment

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HSTS: Final = "max-age=63072000; includeSubDomains"
"""Two years. The devstack has no TLS, and a browser that believed this there would never come back."""

_ALWAYS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": NOTHING,
}


def with_data(environment: Environment) -> dict[str, str]:
    """Of every answer under /api/."""
    return with_anything(environment) | {"Cache-Control": "no-store"}


def with_anything(environment: Environment) -> dict[str, str]:
    return dict(_ALWAYS) if environment == "devstack" else {**_ALWAYS, "Strict-Transport-Security": HSTS}


def answer_headers(environment: Environment) -> BeforeMessageSendHookHandler:
    """For Litestar's `before_send`: it meets every answer, also of paths that nobody serves. What is set stays."""
    data, anything = with_data(environment), with_anything(environment)
    page = anything | {"Content-Security-Policy": swagger.POLICY}

    async def complete(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        path: str = scope["path"]
        fixed = page if path in swagger.PATHS else data if path.startswith("/api/") else anything
        headers = MutableScopeHeaders.from_message(message)
        for name, value in fixed.items():
            headers.setdefault(name, value)
        headers.update(limits.fields_of(scope))

    return complete
