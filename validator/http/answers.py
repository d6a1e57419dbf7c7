"""Responses as bytes, assembled from precomputed parts.

Parts that change slowly are made ahead: the head of every response once a second (its Date), the tail of every verdict
whenever `as_of` or staleness changes. For one request they only have to be joined with its verdict and its number.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from core.clock import rfc3339, unix_time
from core.errors import Busy, Refusal
from core.licensing.verdict import Verdict
from core.problem_document import problem_of
from validator.http.problems import headers_of

_encode = msgspec.json.Encoder().encode
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


@lru_cache(maxsize=4096)
def verdict_text(verdict: Verdict) -> bytes:
    """The part of a response that depends on the verdict; one of the Letterhead's tails completes it."""
    remaining = b"null" if verdict.remaining is None else b"%d" % verdict.remaining
    valid = b"true" if verdict.valid else b"false"
    return b'{"valid":%b,"remaining_quota":%b,"code":"%b","as_of":' % (valid, remaining, verdict.code.encode())


class Letterhead:
    """The precomputed parts, and the responses made from them."""

    def __init__(self) -> None:
        self._serial = 0
        self._process = secrets.token_hex(6)
        self._second = 0
        self._synced_through: float | None = -1.0
        self.head = b""
        """Head of a JSON response, up to the number of Content-Length."""
        self.as_of: str | None = None
        self.doubtful = False
        """Whether every answer is told as stale (validator/store/staleness.py)."""
        self._tails: dict[bool, bytes] = {}
        self._busy_front = self._busy_back = b""

    def renew(self, now: float, synced_through: float | None, *, doubtful: bool = False) -> None:
        """Both in unix seconds; called several times a second."""
        if int(now) != self._second:
            self._second = int(now)
            date = formatdate(self._second, usegmt=True).encode()
            process = self._process.encode()
            front, _, self._busy_back = self.problem(Busy()).partition(b"%b%08x" % (process, self._serial))
            self._busy_front = front + process
            self.head = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Type: application/json\r\nContent-Length: " % date
        if synced_through != self._synced_through or doubtful is not self.doubtful:
            self._synced_through = synced_through
            self.doubtful = doubtful
            self.as_of = None if synced_through is None else rfc3339(datetime.fromtimestamp(synced_through, UTC))
            as_of = _encode(self.as_of)
            for stale in (False, True):
                told = _encode(stale or doubtful)
                self._tails[stale] = b'%b,"stale":%b,"request_id":"%b' % (as_of, told, self._process.encode())

    def request_id(self) -> str:
        self._serial += 1
        return f"{self._process}{self._serial & 0xFFFFFFFF:08x}"

    def verdict(self, text: bytes, *, stale: bool, headers: bytes = b"") -> bytes:
        """`text` from `verdict_text`; `headers` each with its line end in front."""
        self._serial += 1
        tail = self._tails[stale]
        length = len(text) + len(tail) + 10
        return b'%b%d%b\r\n\r\n%b%b%08x"}' % (self.head, length, headers, text, tail, self._serial & 0xFFFFFFFF)

    def verdicts(self, verdicts: Iterable[tuple[bytes, bool]], *, headers: bytes = b"") -> bytes:
        """Several verdicts under one request id; each is a text and whether it is stale."""
        end = b'%b"}' % self.request_id()[-8:].encode()
        body = b'{"items":[%b]}' % b",".join(text + self._tails[stale] + end for text, stale in verdicts)
        return b"%b%d%b\r\n\r\n%b" % (self.head, len(body), headers, body)

    def ok(self, content: Any, *, headers: bytes = b"") -> bytes:
        body = _encode(content)
        return b"%b%d%b\r\n\r\n%b" % (self.head, len(body), headers, body)

    def json(self, status: int, content: Any) -> bytes:
        return self.text(status, _encode(content), {"Content-Type": "application/json"})

    def text(self, status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Date: {formatdate(self._second, usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body

    def busy(self) -> bytes:
        """503 `busy`, which comes in thousands: made once a second, but for its number."""
        self._serial += 1
        return b"%b%08x%b" % (self._busy_front, self._serial & 0xFFFFFFFF, self._busy_back)

    def problem(self, refusal: Refusal) -> bytes:
        body = _encode(problem_of(refusal, self.request_id(), unix_time()))
        return self.text(refusal.status, body, headers_of(refusal))
