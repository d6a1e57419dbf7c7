"""HTTP client of partners: it maps each answer to one of three results: done, Retryable, PartnerRefused.

*Cannot tell* is never *no*. A call is retried, under the same idempotency key, unless the answer plainly refuses this
request. A refused token (401) is about our credentials and not about the request. So that call is retried as well,
until staff correct the credentials.
"""

import asyncio
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx
import msgspec

from core.clock import Clock
from core.errors import PartnerUnavailable, Refusal

_RETRYABLE_STATUSES: Final = frozenset({401, 408, 425, 429})
_LONGEST_WAIT: Final = 3600
_LONGEST_REASON: Final = 300


class Retryable(PartnerUnavailable):
    """The call had no effect, or its effect is unknown. `retry_after`: seconds that the partner asked for."""


class PartnerRefused(Refusal):
    """The partner read the request and refused it; the same request would be refused again."""

    code = "partner_refused"

    def __init__(self, detail: str, answered: int | None = None) -> None:
        """`answered`: the partner's HTTP status; None where the request was never sent."""
        super().__init__(detail)
        self.answered = answered


class PartnerClient:
    """POSTs JSON to one partner over persistent connections. Make one for each event loop; close it with the loop."""

    def __init__(self, name: str, base_url: str, clock: Clock, *, timeout_seconds: float) -> None:
        """`timeout_seconds`: limit of a whole call: connecting, sending, waiting, reading."""
        self._name = name
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout_seconds)

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
        """The body of a 2xx answer; raises Retryable or PartnerRefused otherwise."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._http.post(path, content=msgspec.json.encode(body), headers=sent)
        except (httpx.RequestError, TimeoutError) as failure:
            raise Retryable(f"{self._name} did not answer ({type(failure).__name__})") from failure
        if response.is_success:
            return response.content
        said = f"{self._name} answered {response.status_code}: {_reason(response)}"
        if response.is_client_error and response.status_code not in _RETRYABLE_STATUSES:
            raise PartnerRefused(said, response.status_code)
        raise Retryable(said, retry_after=_retry_after(response, self._clock()))

    async def close(self) -> None:
        await self._http.aclose()


def _reason(response: httpx.Response) -> str:
    """The reason in a problem document (RFC 9457), or the beginning of any other body."""
    try:
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return response.text.strip()[:_LONGEST_REASON] or response.reason_phrase
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    return str(said)[:_LONGEST_REASON]


def _retry_after(response: httpx.Response, now: datetime) -> int | None:
    """Seconds to wait. The header is a number or a date (RFC 9110, 10.2.3); any other value is ignored."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return int(min(float(said), _LONGEST_WAIT))  # int() refuses a number of thousands of digits
    try:
        wait = (parsedate_to_datetime(said) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return int(min(max(wait, 0), _LONGEST_WAIT))
