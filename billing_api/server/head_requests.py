"""HEAD on every route that takes GET: the same status and headers, no body (RFC 9110, 9.3.2).

Watchers of uptime and link checkers ask so. It is answered before the routes are looked at: as the GET that it is, with
the body left out on the way back. Where a path takes no GET it is refused as a GET would be.
"""

from typing import Any

from litestar.types import Message, Scope, Send


def as_get(scope: Scope, send: Send) -> tuple[Scope, Send]:
    """What the application is to see in place of a HEAD."""

    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    seen: Any = {**scope, "method": "GET"}
    return seen, without_body
