"""HEAD requests: every route with GET answers HEAD with the same status and headers, and no body (RFC 9110, 9.3.2).

Uptime monitors and link checkers send HEAD. Before routing, a HEAD becomes a GET, and the body is removed from its
answer. On a path without GET it is refused as a GET would be.
"""

from typing import Any

from litestar.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """The scope and `send` that the application gets in place of those of a HEAD request."""

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    seen: Any = {**scope, "method": "GET"}
    return seen, without_body
