"""Rate limit by GCRA (the generic cell rate algorithm, ITU-T I.371), counted in one process.

One number is kept for each caller: the instant at which all their requests so far are paid for, at one request each
1/rate seconds. It may be ahead of now by the window. There is no timer, no counter to reset, and no burst at a window's
edge.

Each validator process counts for itself: asking Redis would cost more than the answer that is limited. So a panel whose
connections are spread over n processes may reach n times the rate; the limit is against runaway loops, not for billing.
The billing API counts in Redis, for all its processes at once (core/access_store/access.lua), and only while Redis is
away here.
"""

from typing import Final, NamedTuple

import msgspec

MOST_A_SECOND: Final = 1_000_000
"""Redis counts in microseconds: a request of a higher rate would cost nothing (core/access_store/access.lua)."""
_REMEMBERED: Final = 50_000


class Quota(NamedTuple):
    """A number of requests in a number of seconds."""

    requests: int
    seconds: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Allowance(msgspec.Struct, frozen=True, gc=False):
    allowed: bool
    remaining: int
    """Requests that may follow immediately."""
    wait: float
    """Seconds until the next request may come, where this one was refused."""


class RateLimit:
    def __init__(self, rate: float, window: float = 1.0) -> None:
        self.rate = rate
        self.window = window
        self._paid_at: dict[str, float] = {}

    def take(self, who: str, number: int, now: float) -> Allowance:
        """Counts `number` requests at the monotonic instant `now`; refused ones are not counted."""
        paid_at = self._paid_at.get(who, now)
        if paid_at < now:  # noqa: PLR1730  # the validator asks for each request, and a call of max() costs a tenth of it
            paid_at = now
        ahead = paid_at + number / self.rate - now
        if ahead > self.window:
            return Allowance(allowed=False, remaining=self._left(paid_at - now), wait=ahead - self.window)
        if len(self._paid_at) >= _REMEMBERED:
            self._forget(now)
        self._paid_at[who] = now + ahead
        return Allowance(allowed=True, remaining=self._left(ahead), wait=0.0)

    def _left(self, ahead: float) -> int:
        return max(0, int((self.window - ahead) * self.rate + 1e-6))

    def _forget(self, now: float) -> None:
        """Drops callers whose requests are all paid for: they are like new ones. If nobody is, all begin anew."""
        self._paid_at = {who: paid_at for who, paid_at in self._paid_at.items() if paid_at > now}
        if len(self._paid_at) >= _REMEMBERED:
            self._paid_at.clear()
