"""Both doors as their clients meet them: the served billing API and the validator, as bytes on a socket."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from core.clock import unix_time
from core.crypto.signature import sign

HOST: Final = "127.0.0.1"
_PATIENCE: Final = 100
SECRET: Final = "panel-secret"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    content: bytes

    def json(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.content)
        return told


class Door(NamedTuple):
    """One of them, a signed call that it serves, and what stands for its sender."""

    name: str
    port: int
    path: str
    content: Mapping[str, Any]
    key_id: str
    """Of a key that may make this call, and of one that may not."""
    weak_key_id: str
    distant_key_id: str
    """Of a key that may be used from another network only."""

    @property
    def body(self) -> bytes:
        return json.dumps(self.content).encode()

    def signed(self, body: bytes | None = None, **changes: Any) -> dict[str, str]:
        """The headers of a call that is good unless `changes` say otherwise."""
        said: dict[str, Any] = {
            "key_id": self.key_id,
            "secret": SECRET,
            "method": "POST",
            "target": self.path,
            "now": unix_time(),
        }
        said |= {"body": self.body if body is None else body, "idempotency_key": "contract-1"} | changes
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": str(said["idempotency_key"]),
            "NP-Signature": sign(said.pop("key_id"), said.pop("secret"), **said),
        }

    def request(
        self, *headers: tuple[str, str], method: str = "POST", target: str | None = None, body: bytes | None = None
    ) -> bytes:
        """As it goes over the wire; with its length unless the headers tell it."""
        body = self.body if body is None else body
        lines = [f"{method} {target or self.path} HTTP/1.1", "Host: x", "Connection: close"]
        if not {name.lower() for name, _ in headers} & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def said(self, stream: bytes) -> Answer:
        """The answer, once there is one: on a busy machine the validator cannot always tell."""
        answer = await self._said(stream)
        for _ in range(_PATIENCE):
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(0.05)
            answer = await self._said(stream)
        return answer

    async def _said(self, stream: bytes) -> Answer:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        with contextlib.suppress(ConnectionError):
            writer.write(stream)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        return Answer(int(lines[0].split(" ")[1]), {name.lower(): value for name, value in fields.items()}, content)
