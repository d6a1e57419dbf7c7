"""Base of all simulated users: a call that is told which answers are expected.

A refusal that the rules foresee (409 on a license that is suspended already) is an answer like any other. 503 with
Retry-After is counted apart: a panel comes again, for others the present task ends. Everything else is a failure, and
ends the task too.
"""

import random
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import gevent  # type: ignore[import-untyped]  # ships no types
import msgspec
from locust import FastHttpUser
from locust.exception import RescheduleTask
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from core.clock import unix_time
from core.crypto.signature import HEADER, sign
from loadtest.scenarios.world import World, world

Content = Mapping[str, Any]
_OK: Final = frozenset({200, 201, 204})
_NETWORK_SECONDS: Final = 30.0
_UNAVAILABLE: Final = 503
_TRIES: Final = 5
_STEP: Final = 0.5
_LONGEST: Final = 120.0
"""Seconds that a server may put a caller off for; reservations may be for the minute after a loss of Redis."""
_ENDING: Final = frozenset({STATE_STOPPING, STATE_STOPPED, STATE_CLEANUP})


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]


class Dropped(RescheduleTask):
    """A call failed, and is counted; the task ends here."""


class PutOff(Dropped):
    """The server cannot tell now, and says when to come again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"come again in {seconds:g} s")
        self.seconds = seconds


class Caller(FastHttpUser):
    abstract = True
    network_timeout = connection_timeout = _NETWORK_SECONDS

    def __init__(self, environment: Any) -> None:
        self.world: World = world()
        self.host = self.world.stack.billing_api
        super().__init__(environment)

    def call(
        self,
        method: str,
        path: str,
        content: Content | None = None,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        refusals: Collection[int] = (),
    ) -> Reply:
        """`path`: of the billing API, or a whole URL. `name`: what the call is counted under."""
        body = None if content is None else msgspec.json.encode(content)
        return self.exchange(method, path, body, name=name, headers=headers, refusals=refusals)

    def signed(
        self, service: str, path: str, content: Content, *, idempotency_key: str = "", refusals: Collection[int] = ()
    ) -> Reply:
        """A call of NextPanel. `service`: the address of the server.

        A panel that is put off (503 with Retry-After) comes again when it was told to, as real ones do.
        """
        for _ in range(_TRIES):
            wait = self._signed_once(service, path, content, idempotency_key, refusals)
            if isinstance(wait, Reply):
                return wait
            self._wait_until_it_may_come_again(wait)
        self.complain(path, f"put off {_TRIES} times in a row")
        raise Dropped

    def _signed_once(
        self, service: str, path: str, content: Content, idempotency_key: str, refusals: Collection[int]
    ) -> "Reply | float":
        """The reply, or for how many seconds the panel is to wait."""
        key = self.world.stack.platform_key
        body = msgspec.json.encode(content)
        now = unix_time()
        signature = sign(
            key.key_id, key.secret, method="POST", target=path, body=body, now=now, idempotency_key=idempotency_key
        )
        headers = {HEADER: signature} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        try:
            return self.exchange("POST", service + path, body, name=path, headers=headers, refusals=refusals)
        except PutOff as told:
            return told.seconds

    def _wait_until_it_may_come_again(self, seconds: float) -> None:
        """With jitter, in steps: a run that ends does not wait for it."""
        left = seconds * random.uniform(1.0, 1.5)
        while left > 0:
            if self.environment.runner.state in _ENDING:
                raise Dropped
            self.pause(min(left, _STEP))
            left -= _STEP

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        refusals: Collection[int] = (),
    ) -> Reply:
        kind = {} if body is None else {"Content-Type": "application/json"}
        with self.client.request(
            method,
            path,
            name=name,
            data=None if body is None else body.decode(),
            headers={**kind, **(headers or {})},
            catch_response=True,
        ) as response:
            status = int(response.status_code or 0)
            if status in _OK or status in refusals:
                response.success()
                return Reply(status, _decoded(response.content))
            if (seconds := put_off_for(response)) is not None:
                response.success()
                raise PutOff(seconds)
            response.failure(_fault(status, response.content, getattr(response, "error", None)))
        raise Dropped

    def pause(self, seconds: float) -> None:
        """Lets this user wait, and no other."""
        gevent.sleep(seconds)

    def complain(self, name: str, what: str) -> None:
        """Reports an answer that is well-formed and cannot be true."""
        self.environment.events.request.fire(
            request_type="CHECK",
            name=name,
            response_time=0.0,
            response_length=0,
            exception=AssertionError(what),
            context={},
        )


def fresh_key() -> str:
    """An Idempotency-Key."""
    return secrets.token_hex(16)


def put_off_for(response: Any) -> float | None:
    """Seconds, where this is a 503 with Retry-After; None for any other answer."""
    if getattr(response, "status_code", 0) != _UNAVAILABLE:
        return None
    told = str(response.headers.get("Retry-After", ""))
    return min(float(told), _LONGEST) if told.isdecimal() else None


def _decoded(content: bytes | None) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(content or b"{}")
    except msgspec.DecodeError:
        return {}  # a page for people
    return decoded if isinstance(decoded, dict) else {}


def _fault(status: int, content: bytes | None, error: object) -> str:
    if not status:
        return f"no answer: {type(error).__name__}"
    return f"HTTP {status} {_decoded(content).get('code', '')}".strip()
