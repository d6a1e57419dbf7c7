"""Body timeout: late or broken bodies block no other client, and are not counted as our crash."""

import asyncio
import gc
import weakref
from typing import Any, cast

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import RequestFactory

from billing_api.server.app import BillingApi
from billing_api.server.body_timeout import BodyTimeouts, BrokenBody
from core.errors import RequestTimeout
from tests.billing_api.server.test_connections import ROUTES

PATHS = ("/api/v1/auth/login", "/api/v1/billing/usage")
"""Carried by the framework, and by the fast path."""
DRIP = {"type": "http.request", "body": b"{", "more_body": True}
END = {"type": "http.request", "body": b"}", "more_body": False}
GONE = {"type": "http.disconnect"}


class Sender:
    """A client that sends this at once and then nothing more."""

    def __init__(self, *messages: Any) -> None:
        self._messages = list(messages)

    async def __call__(self) -> Any:
        if not self._messages:
            await asyncio.Event().wait()
        message = self._messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message


async def status_and_code(app: Litestar, path: str, sender: Sender) -> tuple[int, Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = RequestFactory(app=app).post(path).scope
    headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
    await cast("Any", app)({**scope, "headers": headers, "state": {}, "path": path}, sender, send)
    return sent[0]["status"], msgspec.json.decode(sent[1]["body"])["code"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_dripped_is_refused(app: Litestar, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cast("BillingApi", app), "body_timeouts", BodyTimeouts(within=0.05, check_every=0.01))
    assert await status_and_code(app, path, Sender(DRIP, DRIP)) == (408, "request_timeout")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("messages", [(DRIP,), (DRIP, GONE)], ids=["dripped", "broken off"])
async def test_what_was_refused_is_let_go_at_once(
    app: Litestar, path: str, messages: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes a connection when nobody holds its `receive`: a circle would wait for the garbage collector."""
    monkeypatch.setattr(cast("BillingApi", app), "body_timeouts", BodyTimeouts(within=0.05, check_every=0.01))
    sender = Sender(*messages)
    held = weakref.ref(sender)
    gc.disable()
    try:
        status, _ = await asyncio.create_task(status_and_code(app, path, sender))
        del sender
        await asyncio.sleep(0)  # the task that has ended goes as well
        assert (status, held()) == (408 if len(messages) == 1 else 400, None)
    finally:
        gc.enable()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("end", [GONE, RuntimeError("the server's word for chunks that are none")])
async def test_a_body_that_breaks_off_is_the_senders_doing(app: Litestar, path: str, end: Any) -> None:
    assert await status_and_code(app, path, Sender(DRIP, end)) == (400, "bad_request")


async def test_all_waits_for_one_body_count_together() -> None:
    timeouts = BodyTimeouts(within=0.2, check_every=0.01)
    pause = 0.05

    async def drip() -> Any:
        await asyncio.sleep(pause)
        return DRIP

    receive = timeouts.bounded(drip)
    received: list[Any] = []

    async def read_on() -> None:
        while len(received) < 100:
            received.append(await receive())

    with pytest.raises(RequestTimeout):
        await read_on()
    assert 0 < len(received) <= 4


async def test_whoever_waits_can_still_be_cancelled() -> None:
    receive = BodyTimeouts().bounded(Sender())
    waiting = asyncio.create_task(cast("Any", receive()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_after_the_body_the_news_that_the_client_has_gone_may_take_any_time() -> None:
    receive = BodyTimeouts(within=0.02, check_every=0.01).bounded(Sender(END))
    assert await receive() == END
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cast("Any", receive()), 0.2)


async def test_a_client_that_has_gone_before_its_body_is_told_as_that() -> None:
    with pytest.raises(BrokenBody):
        await BodyTimeouts().bounded(Sender(GONE))()
