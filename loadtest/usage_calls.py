"""Signed usage reports, made in advance.

Each is a new report. Signing one costs the driver more than sending it, and it shares its machine with the servers it
measures. So as many as a run needs are signed before it begins, but no more than will leave while a signature is valid.

Half of them create and half delete, so that totals stay the same however long a run lasts. A list is what a panel sends
after it was offline: many reports about the few licenses it serves (`about`).
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from core.clock import unix_time
from core.crypto.signature import HEADER, sign
from loadtest.answer import outcome_of

USAGE: Final = "/api/v1/billing/usage"
_RESOURCES: Final = ("domains", "databases", "emails")
_ACTIONS: Final = ("created", "deleted")
_PLACES: Final = len(_RESOURCES) * len(_ACTIONS)


class UsageCalls:
    """Endless. `items` above 1: that many reports in each call."""

    def __init__(
        self,
        url: str,
        key: tuple[str, str],
        license_keys: Sequence[str],
        *,
        items: int = 1,
        about: int = 20,
        ahead: int = 0,
        clock: Callable[[], float] = unix_time,
    ) -> None:
        """`url`: the billing API's; `key`: id and secret; `about`: how many licenses each list is about.

        `ahead`: how many calls to sign now.
        """
        self._host = urlsplit(url).netloc
        self._key = key
        self._license_keys = license_keys
        self._items = items
        self._about = min(about, len(license_keys))
        self._clock = clock
        self._run = uuid4().hex[:16]
        self._numbers = count()
        self._ready = deque(self._sign() for _ in range(ahead))

    def take(self) -> bytes:
        return self._ready.popleft() if self._ready else self._sign()

    def outcome(self, body: bytes) -> str:
        return outcome_of(body)

    def _sign(self) -> bytes:
        if self._items == 1:
            report = _report(random.choice(self._license_keys), random.randrange(_PLACES))
            return self._request(msgspec.json.encode(report), f"{self._run}-{next(self._numbers)}")
        return self._request(self._list(), "")

    def _list(self) -> bytes:
        """A thousand items a call are put together as text: the driver must cost less than what it measures."""
        heads = [
            msgspec.json.encode(_report(license_key, place))[:-1].decode()
            for license_key in random.sample(self._license_keys, self._about)
            for place in range(_PLACES)
        ]
        numbers = islice(self._numbers, self._items)
        items = (f'{random.choice(heads)},"idempotency_key":"{self._run}-{number}"}}' for number in numbers)
        return f'{{"items":[{",".join(items)}]}}'.encode()

    def _request(self, body: bytes, idempotency_key: str) -> bytes:
        key_id, secret = self._key
        signature = sign(
            key_id,
            secret,
            method="POST",
            target=USAGE,
            body=body,
            now=self._clock(),
            idempotency_key=idempotency_key,
        )
        named = f"Idempotency-Key: {idempotency_key}\r\n" if idempotency_key else ""
        head = (
            f"POST {USAGE} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n{named}"
            f"Content-Length: {len(body)}\r\n{HEADER}: {signature}\r\n\r\n"
        )
        return head.encode() + body


def _report(license_key: str, place: int) -> dict[str, str | int]:
    return {
        "license_key": license_key,
        "resource": _RESOURCES[place >> 1],
        "action": _ACTIONS[place & 1],
        "count": 1,
    }
