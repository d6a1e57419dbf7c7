"""A server that answers by a script: one step a request, the last one for ever. It keeps what it was asked."""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.support.callers import HOST
from tests.support.server_thread import serving


class Step(NamedTuple):
    """`cut`: the request is read, has its effect, and the connection ends without an answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = {"Content-Type": "application/json"}
    cut: bool = False
    trickle: bool = False
    """A byte each tenth of a second."""
    after: float = 0
    """Seconds."""
    made_of: Callable[["Asked"], "Step"] | None = None
    """The step that is taken in place of this one."""


class Asked(NamedTuple):
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


def says(content: Any, status: int = 200, **headers: str) -> Step:
    kind = "application/json" if status == 200 else "application/problem+json"
    fields = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    return Step(status, json.dumps(content).encode(), fields)


def refuses(status: int, code: str, **headers: str) -> Step:
    return says(
        {"code": code, "detail": f"because of {code}", "status": status, "conclusive": status < 500 and status != 429},
        status,
        **headers,
    )


class ScriptedServer:
    def __init__(self) -> None:
        self.script: list[Step] = [Step()]
        self.asked: list[Asked] = []
        self.url = ""
        self._until_left = ExitStack()

    async def __aenter__(self) -> Self:
        self.url = f"http://{HOST}:{self._until_left.enter_context(serving(self._serve))}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until_left.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, target, headers, body)
            self.asked.append(asked)
            step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            while step.made_of is not None:
                step = step.made_of(asked)
            await _answer(step, writer)
        writer.close()


async def _answer(step: Step, writer: asyncio.StreamWriter) -> None:
    if step.cut:
        return
    await asyncio.sleep(step.after)
    lines = [f"HTTP/1.1 {step.status} x", *(f"{name}: {value}" for name, value in step.headers.items())]
    lines += [f"Content-Length: {len(step.body)}", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
    for byte in step.body if step.trickle else ():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)
    if not step.trickle:
        writer.write(step.body)
    await writer.drain()
