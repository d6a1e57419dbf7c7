"""Signed requests to the validator, made in advance.

Signing costs the driver about as much as sending, and it shares its machine with the server it measures. A signature is
valid for 300 seconds, and validators keep no nonces of reads. So each request is signed in advance and sent many times.
It is signed again before its time is up. Each has its own moment for that, so that they do not all come at once.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec

from core.clock import unix_time
from core.crypto.signature import HEADER, MAX_AGE, sign
from loadtest.answer import outcome_of

VALIDATE: Final = "/api/v1/nextpanel/validate-license"
FEATURES: Final = ("create_account", "create_domain", "create_database", "create_email", "backups", "staging")
_MOST: Final = 50_000
_GOOD_FOR: Final = (MAX_AGE * 0.2, MAX_AGE * 0.8)


class SignedCalls:
    """Endless: `take` goes around."""

    def __init__(
        self,
        url: str,
        key: tuple[str, str],
        license_keys: Sequence[str],
        *,
        features: Sequence[str] = FEATURES,
        clock: Callable[[], float] = unix_time,
        random_numbers: random.Random | None = None,
    ) -> None:
        """`url`: the validator's; `key`: id and secret."""
        self._host = urlsplit(url).netloc
        self._key = key
        self._clock = clock
        self._random = random_numbers or random.Random()
        number = min(_MOST, max(len(license_keys), len(features)))
        keys = self._random.sample(license_keys, min(number, len(license_keys)))
        self._bodies = [_body(keys[place % len(keys)], self._random.choice(features)) for place in range(number)]
        self._ready = [b""] * number
        self._until = [0.0] * number
        self._next = 0
        for place in range(number):
            self._sign(place)

    def __len__(self) -> int:
        return len(self._bodies)

    def take(self) -> bytes:
        place = self._next
        self._next = place + 1 if place + 1 < len(self._bodies) else 0
        if self._until[place] < self._clock():
            self._sign(place)
        return self._ready[place]

    def outcome(self, body: bytes) -> str:
        return outcome_of(body)

    def _sign(self, place: int) -> None:
        now = self._clock()
        self._ready[place] = request(self._host, VALIDATE, self._bodies[place], self._key, now)
        self._until[place] = now + self._random.uniform(*_GOOD_FOR)


def request(host: str, target: str, body: bytes, key: tuple[str, str], now: float) -> bytes:
    """The bytes of one signed POST."""
    key_id, secret = key
    signature = sign(key_id, secret, method="POST", target=target, body=body, now=now)
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{HEADER}: {signature}\r\n\r\n"
    )
    return head.encode() + body


def _body(license_key: str, feature: str) -> bytes:
    return msgspec.json.encode({"license_key": license_key, "feature": feature})
