"""The headers that tell of the limit per license. How it is counted: core/rate_limit.py."""

import math
from functools import lru_cache

from core.rate_limit import RateLimit


def rate_limit_headers(limit: RateLimit, remaining: int) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers. `t` is when the full quota is there again, in seconds."""
    used = limit.rate * limit.window - remaining
    return {
        "RateLimit-Policy": f'"license";q={limit.rate};w={math.ceil(limit.window)}',
        "RateLimit": f'"license";r={remaining};t={math.ceil(used / limit.rate)}',
    }


@lru_cache(maxsize=8192)
def rate_limit_lines(limit: RateLimit, remaining: int) -> bytes:
    """The same as lines of an answer, each with its line end in front. Few numbers come, and they come often."""
    return "".join(f"\r\n{name}: {value}" for name, value in rate_limit_headers(limit, remaining).items()).encode()
