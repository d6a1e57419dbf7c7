"""Headers of the rate limit for each license."""

from core.rate_limit import RateLimit
from validator.http.rate_limit_headers import rate_limit_headers


def test_headers_say_the_quota_and_what_is_left_of_it() -> None:
    limit = RateLimit(rate=10, window=1.0)
    assert rate_limit_headers(limit, 4) == {
        "RateLimit-Policy": '"license";q=10;w=1',
        "RateLimit": '"license";r=4;t=1',
    }
