"""Request log of a simulator, for tests and people: `/_sim/requests`.

The newest LIMIT requests, kept in memory, each with its body cut to BODY_LIMIT characters. Headers that carry a secret
are shown as present and no more, and so is what looks like a card number: this list ends in test output and terminals.
"""

import re
from collections import deque
from typing import Final

import msgspec

from core.clock import rfc3339, utc_now
from devstack.simulators.asgi import Application, Message, Receive, Scope, Send

LIMIT: Final = 1000
BODY_LIMIT: Final = 16_384
OWN_PATHS: Final = ("/_sim", "/health")
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "stripe-signature", "np-signature", "proxy-authorization"}
)
_CARD_NUMBER: Final = re.compile(r"\d(?:(?:[ +-]|%20)?\d){12,18}")


class Received(msgspec.Struct):
    at: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: str = ""


class Recorder:
    """An ASGI layer: passes everything through and remembers the requests."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.received: deque[Received] = deque(maxlen=LIMIT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(OWN_PATHS):
            await self._app(scope, receive, send)
            return
        entry = Received(
            at=rfc3339(utc_now()),
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=dict(_shown(name, value) for name, value in scope["headers"]),
        )
        self.received.append(entry)

        async def reading() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                entry.body += message["body"].decode("utf-8", "replace")[: BODY_LIMIT - len(entry.body)]
            return message

        try:
            await self._app(scope, reading, send)
        finally:
            entry.body = _CARD_NUMBER.sub("(card number)", entry.body)


def _shown(name: bytes, value: bytes) -> tuple[str, str]:
    label = name.decode("latin-1").lower()
    return label, "(secret)" if label in _SECRET_HEADERS else value.decode("latin-1")
