"""How far servers may be believed beyond what they answer: for "no", and for data of another reign.

A server that answers may be wrong in three ways. The projection may stand still (no worker is left, or it is full), so
that what was issued since is not there. It may be unfit (core/hotstore/server_facts.py): what is not there was evicted.
And it may have data of another reign: its append-only file is of last week, or a replica lagged when it was promoted.

    "no" (NOT_FOUND, no such key, secret)  only from a server that is fit, in a bucket that was confirmed in its present
                                           reign, with `as_of` younger than AGED_SECONDS; else nobody can tell
    a record of an unconfirmed bucket      stale, while the file's `synced_through` is younger than STALE_SECONDS and
                                           nothing newer was told of it by this process; then nobody can tell
    any record, `as_of` older than that    told, as stale, without end: Redis has it, and has not changed

Whether all answers are doubtful is worked out between requests, twenty times a second; the rest where it is asked.
"""

from time import monotonic
from typing import Final

from core.clock import unix_time
from validator.redis.link import RedisLink
from validator.redis.nodes import Nodes

AGED_SECONDS: Final = 10.0
"""From this age of `as_of` on every answer is stale, and "no" is said no more."""
STALE_SECONDS: Final = 300
"""For so long what is no longer proven is told, as stale; afterwards nobody can tell."""
_SLACK: Final = 1.0  # for clocks: `synced_through` is Postgres's


class Trust:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.doubtful = True
        """Whether every answer is to be called stale: the projection stands still, or a server is unfit."""
        self._told_through = float("-inf")

    def renew(self, now: float) -> None:
        """Called several times a second; `now` in unix seconds."""
        through = self._nodes.sync.fence.synced_through
        if through is not None and through > self._told_through:
            self._told_through = through
        self.doubtful = self._age(now) > AGED_SECONDS or self._nodes.unfit is not None

    def denies(self, link: RedisLink) -> bool:
        """Whether what is certainly not there may be said not to exist."""
        return self._age(unix_time()) <= AGED_SECONDS and link.unfit is None

    def denies_until(self, link: RedisLink) -> float:
        """Until when, as a monotonic instant, such an answer may be given again without a look at Redis."""
        return float("-inf") if link.unfit is not None else monotonic() + AGED_SECONDS - self._age(unix_time())

    def _age(self, now: float) -> float:
        """Of `as_of`, in seconds."""
        through = self._nodes.sync.fence.synced_through
        return float("inf") if through is None else now - through

    @property
    def file_through(self) -> float | None:
        """Up to which unix instant data of another reign has everything; None where it is too old to be used."""
        through = self._nodes.sync.fence.synced_here
        return None if through is None or unix_time() - through > STALE_SECONDS else through

    def lags(self, link: RedisLink, through: float) -> bool:
        """Whether such data may be older than something that was told and is not remembered."""
        return not self._tells(link) or through < self._told_through - 2 * _SLACK

    def may_be_older(self, link: RedisLink, through: float, known_until: float) -> bool:
        """Whether such data may be older than what was known to be true up to the monotonic instant `known_until`."""
        return not self._tells(link) or through - _SLACK < unix_time() - (monotonic() - known_until)

    def _tells(self, link: RedisLink) -> bool:
        """Whether `synced_through` is of this server's file. Of a Cluster one node has it; another's may be older."""
        return link is self._nodes.sync
