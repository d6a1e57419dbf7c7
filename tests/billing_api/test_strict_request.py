"""A body that does not arrive: it keeps nobody else's place."""

import asyncio
from typing import Any, cast

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import RequestFactory

from billing_api import strict_request
from billing_api.strict_request import RequestTimeout, StrictRequest


async def test_a_body_that_is_dripped_is_refused(app: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_request, "_ARRIVES_WITHIN", 0.05)
    sent: list[dict[str, Any]] = []
    first = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if first:
            return first.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = RequestFactory(app=app).post("/api/v1/auth/login").scope
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    asgi = cast("Any", app)
    await asgi({**scope, "headers": headers, "state": {}, "path": "/api/v1/auth/login"}, receive, send)
    assert sent[0]["status"] == 408
    assert msgspec.json.decode(sent[1]["body"])["code"] == "request_timeout"


async def test_a_body_that_has_arrived_is_not_waited_for(app: Litestar) -> None:
    request = RequestFactory(app=app).post("/api/v1/auth/login", data={"a": 1})
    strict = StrictRequest(request.scope, receive=request.receive)
    assert await strict.body() == await strict.body() == b'{"a":1}'
    assert issubclass(RequestTimeout, Exception)
