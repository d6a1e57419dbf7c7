"""One signed call with retries; its result is an answer, Unreachable or Refused.

An answer that the service never gives (a proxy's page, a portal's redirect, another's JSON) is not the service's, so
that call did not reach it. Every call is safe to repeat: questions change nothing, a reservation is known by its
idempotency key, and so is a report.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any, Final, TypeVar

import httpx

from nextpanel_billing_client.answers import Refused, Unreachable, one_line, one_of
from nextpanel_billing_client.api_key import ApiKey, ApiKeys
from nextpanel_billing_client.one_process import OneProcess
from nextpanel_billing_client.signing import sign

T = TypeVar("T")
Read = Callable[[dict[str, Any]], T]
"""Parses an answer; raises one of _NO_ANSWER where it is not the service's."""


def _user_agent() -> str:
    try:
        return f"nextpanel-billing-client/{version('nextpanel-billing-client')}"
    except PackageNotFoundError:  # it runs from its source
        return "nextpanel-billing-client"


_USER_AGENT: Final = _user_agent()
# RecursionError: nested deeper than can be read. OverflowError: 1e999 is a number of JSON's.
_NO_ANSWER: Final = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_PROBLEM: Final = "application/problem+json"
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 3600.0
"""Seconds that a Retry-After may ask for: a proxy on the way may answer, and ask for a year."""
_LONGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes. A thousand reports are answered in a few hundred thousand."""


def address(url: str, name: str) -> str:
    """The URL without a slash at its end; ValueError where nothing can be asked there."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as fault:
        raise ValueError(f"{name} is no URL: {fault}") from fault
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment:
        raise ValueError(f"{name} must be like https://billing.example.com, not {url!r}")
    return url.strip().rstrip("/")


class Transport:
    def __init__(
        self,
        http: httpx.AsyncClient,
        keys: ApiKeys,
        *,
        attempts: int,
        patience: float,
        clock: Callable[[], float],
    ) -> None:
        """`patience`: seconds for a call with all its attempts and the pauses between them."""
        self._http = http
        self._keys = keys
        self._process = OneProcess()
        self._attempts = attempts
        self._patience = patience
        self._clock = clock

    async def post(
        self,
        url: str,
        body: bytes,
        read: Read[T],
        *,
        idempotency_key: str = "",
        within: float | None = None,
        signed: bool = True,
    ) -> T:
        """`within`: seconds for this call, where they are not the usual ones."""
        give_up_at = monotonic() + (self._patience if within is None else within)
        attempt = 1
        while True:
            try:
                return await self._once(url, body, read, idempotency_key, give_up_at, signed=signed)
            except Unreachable as failure:
                spread = random.uniform(0.5, 1)  # noqa: S311  spreads retries, guards nothing
                pause = max(_FIRST_PAUSE * 2**attempt * spread, failure.retry_after or 0)
                if attempt == self._attempts or monotonic() + pause >= give_up_at:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def get(self, url: str, read: Read[T]) -> T:
        """Unsigned, and past every cache."""
        return await self._exchange("GET", url, b"", {"Cache-Control": "no-cache"}, read, self._patience)

    async def _once(
        self, url: str, body: bytes, read: Read[T], idempotency_key: str, give_up_at: float, *, signed: bool
    ) -> T:
        headers = {"Content-Type": "application/json"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        if not signed:
            return await self._exchange("POST", url, body, headers, read, give_up_at - monotonic())
        key = await _by(give_up_at, self._keys.current())
        while True:
            more = {"NP-Signature": self._signature(key, url, body, idempotency_key)}
            try:
                return await self._exchange("POST", url, body, headers | more, read, give_up_at - monotonic())
            except Refused as refusal:
                if refusal.status != httpx.codes.UNAUTHORIZED:
                    raise
                another = await _by(give_up_at, self._keys.instead_of(key))
                if another is None:
                    raise
                key = another

    def _signature(self, key: ApiKey, url: str, body: bytes, idempotency_key: str) -> str:
        target = httpx.URL(url).raw_path.decode()
        now = self._clock()
        return sign(key.key_id, key.secret, target=target, body=body, now=now, idempotency_key=idempotency_key)

    async def _exchange(
        self, method: str, url: str, body: bytes, headers: dict[str, str], read: Read[T], within: float
    ) -> T:
        self._process.check()
        headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT, **headers}
        try:
            async with (
                asyncio.timeout(within),  # httpx limits each step, a slow trickle would pass it for ever
                self._http.stream(
                    method, url, content=body, headers=headers, timeout=within, follow_redirects=False
                ) as response,
            ):
                content = await _content(response)
        except (httpx.HTTPError, TimeoutError, UnicodeError) as failure:  # the last: a header that cannot be said again
            raise Unreachable(type(failure).__name__) from failure
        return _sorted(response, content, read, self._clock())


async def _by(until: float, work: Awaitable[T]) -> T:
    """The API key, read from a store that may be slow."""
    try:
        async with asyncio.timeout(max(until - monotonic(), 0)):
            return await work
    except TimeoutError as failure:
        raise Unreachable("the API key could not be read in time") from failure


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_raw():  # decompressed, a short answer may be a very long one
        content += part
        if len(content) > _LONGEST_ANSWER:
            raise Unreachable(f"HTTP {response.status_code} with an answer that is too long")
    return bytes(content)


def _sorted(response: httpx.Response, content: bytes, read: Read[T], now: float) -> T:
    status = response.status_code
    if status in _TRY_AGAIN:
        raise Unreachable(f"HTTP {status}", seconds_until(response.headers.get("retry-after"), now))
    try:
        if status == httpx.codes.OK:
            return read(json.loads(content))
        if response.headers.get("content-type", "").lower().startswith(_PROBLEM):
            problem = json.loads(content)
            code, detail = (one_line(one_of(problem[name], str)) for name in ("code", "detail"))
            if problem.get("conclusive") is False:
                raise Unreachable(f"HTTP {status}, {code}: nothing can be concluded")
            raise Refused(status, code, detail)
    except _NO_ANSWER as failure:
        raise Unreachable(f"HTTP {status} with an answer that is not the service's") from failure
    raise Unreachable(f"HTTP {status} with an answer that is not the service's")


def seconds_until(retry_after: str | None, now: float) -> float | None:
    """The pause that a Retry-After asks for, in seconds or as an HTTP date (RFC 9110 10.2.3), an hour at most."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        pause = float(retry_after)
    else:
        try:
            then = parsedate_to_datetime(retry_after)
        except (ValueError, TypeError, OverflowError):
            return None
        pause = (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now
    return min(max(pause, 0.0), _LONGEST_PAUSE)
