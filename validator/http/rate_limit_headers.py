"""Rate limits of this process: the headers of the limit for each license, and the limit of failed signatures.

core/rate_limit.py counts.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from time import monotonic
from typing import Final

from core import ip_addresses
from core.counted import counted
from core.errors import TooManyRequests
from core.rate_limit import Allowance, Quota, RateLimit
from validator.http.client_address import client_address
from validator.http.protocol import Request

SIGNATURE_FAILURES: Final = "signature_failures"


class LimitReached(TooManyRequests):
    def __init__(self, detail: str, allowance: Allowance, limit: RateLimit, name: str) -> None:
        super().__init__(detail, retry_after=max(1, math.ceil(allowance.wait)))
        self.headers = rate_limit_headers(limit, allowance.remaining, name)


class SignatureFailures:
    """Limit of calls with an invalid signature, for each address. Other calls are neither counted nor refused."""

    def __init__(self, quota: Quota, proxies: Sequence[ip_addresses.Network]) -> None:
        self._quota = quota
        self._proxies = proxies
        self._limit = RateLimit(quota.rate, quota.seconds)

    def count(self, request: Request) -> None:
        """Raises TooManyRequests where there have been too many."""
        client = client_address(request, self._proxies)
        allowance = self._limit.take(ip_addresses.group(client), 1, monotonic())
        if not allowance.allowed:
            number, seconds = self._quota
            allowed = f"{counted(number, 'invalid signature')} in {counted(seconds, 'second')}"
            detail = f"an address may send {allowed}: correct the signature"
            raise LimitReached(detail, allowance, self._limit, SIGNATURE_FAILURES)


def rate_limit_headers(limit: RateLimit, remaining: int, name: str = "license") -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers. `t`: seconds until the full quota is available again."""
    requests = round(limit.rate * limit.window)
    return {
        "RateLimit-Policy": f'"{name}";q={requests};w={math.ceil(limit.window)}',
        "RateLimit": f'"{name}";r={remaining};t={math.ceil((requests - remaining) / limit.rate)}',
    }


@lru_cache(maxsize=8192)
def rate_limit_lines(limit: RateLimit, remaining: int) -> bytes:
    """The same as lines of a response, each with its line end in front. There are few different ones: cached."""
    return "".join(f"\r\n{name}: {value}" for name, value in rate_limit_headers(limit, remaining).items()).encode()
