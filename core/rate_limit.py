"""How often somebody may ask, by GCRA (the generic cell rate algorithm, ITU-T I.371); here as one process counts it.

One number for each caller: the instant at which he will have paid for everything he asked so far, at one request per
1/rate seconds. It may run ahead of now by the window. No timer, no counter to reset, no burst at a window's edge.

The validator counts for itself only: asking Redis would cost more than the answer that is being limited. A panel that
spreads its connections over n processes may so reach n times the rate; the limit is there for runaway loops, not for
billing. The billing API counts in Redis, for all its processes at once (core/access_store/access.lua), and only while
Redis is away here.
"""

from typing import Final, NamedTuple

import msgspec

_REMEMBERED: Final = 50_000


class Quota(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    seconds: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class Allowance(msgspec.Struct, frozen=True, gc=False):
    allowed: bool
    remaining: int
    """Requests that may follow at once."""
    wait: float
    """Seconds until one may, where this one may not."""


class RateLimit:
    def __init__(self, rate: float, window: float = 1.0) -> None:
        self.rate = rate
        self.window = window
        self._paid_at: dict[str, float] = {}

    def take(self, who: str, number: int, now: float) -> Allowance:
        """Asks for `number` requests at the monotonic instant `now`; what is refused is not counted."""
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
        """Who has paid for everything is like one never seen. Where all are busy, all begin anew."""
        self._paid_at = {who: paid_at for who, paid_at in self._paid_at.items() if paid_at > now}
        if len(self._paid_at) >= _REMEMBERED:
            self._paid_at.clear()
