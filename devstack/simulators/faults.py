"""Trouble on request: what a partner may do to a caller, set through `/_sim/faults` for the next requests that match.

| kind | the work is done | the caller gets |
|---|---|---|
| `status` | no | that status with that body and those headers |
| `timeout_before` | no | nothing, for `hang_seconds`, then a cut connection |
| `timeout_after_effect` | yes | the same: it cannot know |
| `drop` | no | a cut connection at once |
| `drop_after_effect` | yes | a cut connection instead of the answer |
| `delay` | yes | the answer, `delay_ms` later |

The two `…_after_effect` kinds are why every effect has a key: the caller that tries again must not do it twice.
"""

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal

import msgspec

from devstack.simulators.asgi import Application, Message, Receive, Scope, Send
from devstack.simulators.recording import OWN_PATHS

Kind = Literal["status", "timeout_before", "timeout_after_effect", "drop", "drop_after_effect", "delay"]
_HANGING: Final = frozenset({"timeout_before", "timeout_after_effect"})
_WORKING: Final = frozenset({"timeout_after_effect", "drop_after_effect"})


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """`path` is a pattern (`/v1/refunds*`); without `method` or `path` every request matches."""

    kind: Kind
    method: str | None = None
    path: str = "*"
    times: Annotated[int, msgspec.Meta(ge=1)] = 1
    status: Annotated[int, msgspec.Meta(ge=100, le=599)] = 500
    body: Any = None
    headers: dict[str, str] = {}
    delay_ms: Annotated[int, msgspec.Meta(ge=0)] = 0
    hang_seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 60

    def matches(self, method: str, path: str) -> bool:
        return (self.method is None or self.method.upper() == method) and fnmatchcase(path, self.path)


class FaultyLayer:
    """An ASGI layer: applies the first fault that matches, and counts it down."""

    def __init__(self, app: Application, default_body: Callable[[int], Any]) -> None:
        self._app = app
        self._default_body = default_body
        self.faults: list[Fault] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._take(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.kind == "delay":
            await self._app(scope, await _late(scope, receive, fault.delay_ms / 1000), send)
        elif fault.kind == "status":
            await self._refuse(fault, send)
        else:
            if fault.kind in _WORKING:
                await self._app(scope, receive, _into_the_void)
            if fault.kind in _HANGING:
                await _until_gone(receive, fault.hang_seconds)
            await _cut(send)

    def _take(self, scope: Scope) -> Fault | None:
        if scope["path"].startswith(OWN_PATHS):
            return None
        for fault in self.faults:
            if fault.matches(scope["method"], scope["path"]):
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None

    async def _refuse(self, fault: Fault, send: Send) -> None:
        body = msgspec.json.encode(self._default_body(fault.status) if fault.body is None else fault.body)
        headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": fault.status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _late(scope: Scope, receive: Receive, seconds: float) -> Receive:
    """A late answer is a late request: the body dawdles, so that the work has begun and another call can meet it."""
    if scope["method"] == "GET":
        await asyncio.sleep(seconds)
        return receive
    waited = False

    async def dawdling() -> Message:
        nonlocal waited
        if not waited:
            waited = True
            await asyncio.sleep(seconds)
        return await receive()

    return dawdling


async def _into_the_void(_message: Message) -> None:
    """Where an answer goes that the caller must not get."""


async def _until_gone(receive: Receive, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


async def _cut(send: Send) -> None:
    """ASGI has no word for hanging up: promise more bytes than are sent, and the server closes the connection."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1048576")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
