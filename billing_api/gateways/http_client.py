"""Outcome of a call to a partner, by its HTTP answer: done, Retryable or PartnerRefused.

*Cannot tell* is never *no*: whatever does not plainly refuse this very request may be asked again, under the same
idempotency key. A refused token (401) is about our credentials and not about the request, so it is
retried until an operator corrects them, like a time-out.
"""

import asyncio
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec

from core.clock import Clock
from core.errors import PartnerUnavailable, Refusal

TIMEOUT_SECONDS: Final = 10.0
"""For one call as a whole: connecting, sending, waiting, reading."""

_ASK_AGAIN: Final = frozenset({401, 408, 425, 429})
_LONGEST_WAIT: Final = 3600
_LONGEST_REASON: Final = 300


class Retryable(PartnerUnavailable):
    """Not carried out, or nobody knows. `retry_after`: seconds that the partner asked for."""


class PartnerRefused(Refusal):
    """The partner read the request and said no; the same request would be refused again."""

    code = "partner_refused"

    def __init__(self, detail: str, answered: int | None = None) -> None:
        """`answered`: the partner's HTTP status; None where the request never left the house."""
        super().__init__(detail)
        self.answered = answered


class PartnerClient:
    """POSTs JSON to one partner over kept connections. One for each event loop, closed with it."""

    def __init__(self, name: str, base_url: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._http = httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_SECONDS)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
        """The body of a 2xx answer; Retryable or PartnerRefused otherwise."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await self._http.post(path, content=msgspec.json.encode(body), headers=sent)
        except (httpx.RequestError, TimeoutError) as failure:
            raise Retryable(f"{self._name} did not answer ({type(failure).__name__})") from failure
        if response.is_success:
            return response.content
        said = f"{self._name} answered {response.status_code}: {_reason(response)}"
        if response.is_client_error and response.status_code not in _ASK_AGAIN:
            raise PartnerRefused(said, response.status_code)
        raise Retryable(said, retry_after=_retry_after(response, self._clock()))

    async def close(self) -> None:
        await self._http.aclose()


def _reason(response: httpx.Response) -> str:
    """What a problem document (RFC 9457) says, or the beginning of whatever came instead."""
    try:
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return response.text.strip()[:_LONGEST_REASON] or response.reason_phrase
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    return str(said)[:_LONGEST_REASON]


def _retry_after(response: httpx.Response, now: datetime) -> int | None:
    """Seconds or a date (RFC 9110, 10.2.3); nonsense counts as not said."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return int(min(float(said), _LONGEST_WAIT))  # int() refuses a number of thousands of digits
    try:
        wait = (parsedate_to_datetime(said) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return int(min(max(wait, 0), _LONGEST_WAIT))
