"""Signed requests to the validator, made in advance.

Signing costs the driver about as much as sending, and it shares its machine with the server it measures. A signature is
valid for 300 seconds, and validators keep no nonces of reads. So each request is signed in advance and sent many times.
It is signed again before its time is up. Each has its own moment for that, so that they do not all come at once.

Licenses are asked about in turn, or as a spread draws them. Then each license has one feature that it is always asked
about: a cache is asked again what it was asked before, also by the pass that warms it (`each_once`).
"""

import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit
from zlib import crc32

import msgspec

from core.clock import unix_time
from core.crypto.signature import HEADER, MAX_AGE, sign
from loadtest.answer import outcome_of
from loadtest.drawing import Spread, draw

VALIDATE: Final = "/api/v1/nextpanel/validate-license"
FEATURES: Final = ("create_account", "create_domain", "create_database", "create_email", "backups", "staging")
_MOST: Final = 50_000
_MOST_DRAWN: Final = 500_000
"""200 MB of requests: a longer run goes around."""
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
        spread: Spread | None = None,
        ahead: int = 0,
        clock: Callable[[], float] = unix_time,
        random_numbers: random.Random | None = None,
    ) -> None:
        """`url`: the validator's; `key`: id and secret. `ahead`: how many requests a run with a spread will send."""
        self._host = urlsplit(url).netloc
        self._key = key
        self._clock = clock
        self._random = random_numbers or random.Random()
        if spread is None:
            self._in_turn(license_keys, features)
        else:
            self._drawn(license_keys, features, spread, ahead)
        self._ready = [b""] * len(self._bodies)
        self._until = [0.0] * len(self._bodies)
        self._next = 0
        for place in range(len(self._bodies)):
            self._sign(place)

    def _in_turn(self, license_keys: Sequence[str], features: Sequence[str]) -> None:
        number = min(_MOST, max(len(license_keys), len(features)))
        keys = self._random.sample(license_keys, min(number, len(license_keys)))
        self._bodies = [_body(keys[place % len(keys)], self._random.choice(features)) for place in range(number)]
        self._order: Sequence[int] = range(number)

    def _drawn(self, license_keys: Sequence[str], features: Sequence[str], spread: Spread, ahead: int) -> None:
        """Only licenses that are drawn get a request."""
        drawn = draw(len(license_keys), spread, max(1, min(ahead, _MOST_DRAWN)), self._random)
        places = {license_: place for place, license_ in enumerate(dict.fromkeys(drawn))}
        self._bodies = [_question(license_keys[license_], features) for license_ in places]
        self._order = array("I", (places[license_] for license_ in drawn))

    def __len__(self) -> int:
        """After so many requests it goes around."""
        return len(self._order)

    def take(self) -> bytes:
        turn = self._next
        self._next = turn + 1 if turn + 1 < len(self._order) else 0
        place = self._order[turn]
        if self._until[place] < self._clock():
            self._sign(place)
        return self._ready[place]

    def outcome(self, body: bytes) -> str:
        return outcome_of(body)

    def _sign(self, place: int) -> None:
        now = self._clock()
        self._ready[place] = request(self._host, VALIDATE, self._bodies[place], self._key, now)
        self._until[place] = now + self._random.uniform(*_GOOD_FOR)


def each_once(
    url: str, key: tuple[str, str], license_keys: Sequence[str], features: Sequence[str] = FEATURES
) -> Iterator[bytes]:
    """For each license the request that a run with a spread sends, signed when it is taken."""
    host = urlsplit(url).netloc
    return (request(host, VALIDATE, _question(key_, features), key, unix_time()) for key_ in license_keys)


def request(host: str, target: str, body: bytes, key: tuple[str, str], now: float) -> bytes:
    """The bytes of one signed POST."""
    key_id, secret = key
    signature = sign(key_id, secret, method="POST", target=target, body=body, now=now)
    head = (
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{HEADER}: {signature}\r\n\r\n"
    )
    return head.encode() + body


def _question(license_key: str, features: Sequence[str]) -> bytes:
    """With the license's one feature, which follows from its key."""
    return _body(license_key, features[crc32(license_key.encode()) % len(features)])


def _body(license_key: str, feature: str) -> bytes:
    return msgspec.json.encode({"license_key": license_key, "feature": feature})
