"""The headers that tell of the limit per license. How it is counted: core/rate_limit.py."""

import math

from core.rate_limit import Allowance, RateLimit


def rate_limit_headers(limit: RateLimit, allowance: Allowance) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers. `t` is when the full quota is there again, in seconds."""
    used = limit.rate * limit.window - allowance.remaining
    return {
        "RateLimit-Policy": f'"license";q={limit.rate};w={math.ceil(limit.window)}',
        "RateLimit": f'"license";r={allowance.remaining};t={math.ceil(used / limit.rate)}',
    }
