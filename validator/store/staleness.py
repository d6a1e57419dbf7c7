"""Staleness: how old an answer may be, when it is told as `stale`, and when nobody can tell any more.

A server that answers may be wrong in three ways. The projection may stand still (no worker is left, or it is full), so
what was issued since is missing. The server may be unfit (core/hotstore/server_facts.py): what is missing was evicted.
And it may have data of another reign: its append-only file is of last week, or a replica lagged when it was promoted.

    any answer, `as_of` older than            told as stale, without end: Redis has it and has not changed
    AGED_SECONDS
    "no" (NOT_FOUND, no such key, secret)     only from a server that is fit, in a bucket that was confirmed in its
                                              present reign, with `as_of` younger than AGED_SECONDS; else NotReady
    a record of an unconfirmed bucket         stale, while the file's `synced_through` is younger than STALE_SECONDS
                                              and this process has told nothing newer; then NotReady
    a bucket that is not loaded               what is remembered, and each record that is there, stale; never "no"
    Redis does not answer                     what is remembered, stale, for STALE_SECONDS; then NotReady

A cached entry is believed, and not stale, while its fence has passed at most MAX_AGE ago (validator/redis/fence.py).
`Trust` works out twenty times a second whether all answers are doubtful. `StaleAnswers` concludes for one license, and
only where its answer from Redis is not conclusive.
"""

from time import monotonic
from typing import Final, NamedTuple

from core.clock import unix_time
from core.hotstore.functions import NotReady
from core.hotstore.snapshot import Snapshot
from core.licensing.record import LicenseRecord, Usage
from validator.redis.eras import Eras
from validator.redis.link import RedisLink
from validator.redis.nodes import Nodes
from validator.store.near_cache import Change, KnownLicense, NearCache, SeenAnswer
from validator.store.sized_cache import SizedCache

AGED_SECONDS: Final = 10.0
"""Once `as_of` is older than this, every answer is stale, and "no" is not said any more."""
STALE_SECONDS: Final = 300
"""What is no longer proven is told for so long, as stale; afterwards nobody can tell."""
_SLACK: Final = 1.0  # for clocks: `synced_through` is Postgres's


class Trust:
    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self.doubtful = True
        """Whether every answer is told as stale: the projection stands still, or a server is unfit."""
        self._told_through = float("-inf")

    def renew(self, now: float) -> None:
        """Called several times a second; `now` in unix seconds."""
        through = self._nodes.sync.fence.synced_through
        if through is not None and through > self._told_through:
            self._told_through = through
        self.doubtful = self._age(now) > AGED_SECONDS or self._nodes.unfit is not None

    def denies(self, link: RedisLink) -> bool:
        """Whether a record that is missing may be said not to exist."""
        return self._age(unix_time()) <= AGED_SECONDS and link.unfit is None

    def denies_until(self, link: RedisLink) -> float:
        """Monotonic instant until which such an answer may be given again without asking Redis."""
        return float("-inf") if link.unfit is not None else monotonic() + AGED_SECONDS - self._age(unix_time())

    def _age(self, now: float) -> float:
        """Of `as_of`, in seconds."""
        through = self._nodes.sync.fence.synced_through
        return float("inf") if through is None else now - through

    @property
    def file_through(self) -> float | None:
        """Unix instant up to which data of another reign is complete; None where it is too old to be used."""
        through = self._nodes.sync.fence.synced_here
        return None if through is None or unix_time() - through > STALE_SECONDS else through

    def lags(self, link: RedisLink, through: float) -> bool:
        """Whether such data may be older than something that was told and is no longer remembered."""
        return not self._tells(link) or through < self._told_through - 2 * _SLACK

    def may_be_older(self, link: RedisLink, through: float, known_until: float) -> bool:
        """Whether such data may be older than what was known to be true up to the monotonic instant `known_until`."""
        return not self._tells(link) or through - _SLACK < unix_time() - (monotonic() - known_until)

    def _tells(self, link: RedisLink) -> bool:
        """Whether `synced_through` is from this server's file. In a Cluster another node's file may be older."""
        return link is self._nodes.sync


class _Told(NamedTuple):
    """What this process has told of a license, or was about to."""

    record: LicenseRecord | None
    usage: Usage
    known_until: float
    changed_at: float
    """Monotonic instant of the push that said that it has changed."""
    changed_in: int
    """In which of the link's tenures that was; 0: never."""
    usable: bool
    """Whether it may be told again, as stale: no push has said that it was replaced."""


class StaleAnswers:
    """What may be told of a license, as stale, where the answer of Redis is not conclusive."""

    def __init__(self, eras: Eras, trust: Trust, licenses: NearCache, seen: SizedCache[str, SeenAnswer] | None) -> None:
        """`seen`: where told answers are remembered instead, with the near cache off."""
        self._by_tag = eras.by_tag
        self._trust = trust
        self._licenses = licenses
        self._seen = seen

    def of_another_reign(self, h: str, reading: Snapshot) -> KnownLicense | NotReady:
        """Data of another reign may be of a moment ago, or of last week: never older than what was told before."""
        told = self._told(h)
        through = self._trust.file_through
        link = self._by_tag[h[:2]].link
        record, usage = reading.record, reading.usage
        # The file is too old, or may be older than something that was told and then left the cache.
        if through is None or record is None or (told is None and self._lets_go and self._trust.lags(link, through)):
            return self._as_told(told) or NotReady("the data is being compared with its source after a restart")
        # What was told of this license bounds from below what may be told now, document and totals each.
        if told is not None and told.record is not None:
            if _age(record) < _age(told.record):
                return self._as_told(told) or NotReady("the data here is older than what was told before")
            beside = self._beside(h, told, usage, through, same=_age(record) == _age(told.record))
            if isinstance(beside, NotReady):
                return beside
            usage = beside
        known_until = monotonic() - (unix_time() - through)
        if self._seen is None:
            self._licenses.keep_as_told(h, record, usage, known_until)
        return KnownLicense(record, usage, stale=True, known_until=known_until)

    def _beside(self, h: str, told: _Told, usage: Usage, through: float, *, same: bool) -> Usage | NotReady:
        """The usage that may be told beside this document: the `same` one that was told before, or a newer one."""
        link = self._by_tag[h[:2]].link
        written = told.changed_in == link.tenures
        changed = bool(told.changed_in) and not written
        if not self._trust.may_be_older(link, through, told.changed_at if changed else told.known_until):
            return usage
        if same and changed:
            return NotReady("the license has changed, and the data here may be older than the change")
        if same and not written:
            return told.usage
        # The document or one of the totals may have been written in this reign; the others may still be older.
        used = {one: max(number, usage.used.get(one, 0)) for one, number in told.usage.used.items()}
        return Usage({**usage.used, **used}, usage.held)

    @property
    def _lets_go(self) -> bool:
        return self._licenses.let_go if self._seen is None else self._seen.let_go

    def _told(self, h: str) -> _Told | None:
        if self._seen is None:
            old = self._licenses.old(h)
            if old is None:
                return None
            # When a bucket moves, the node that it leaves pushes each key.
            change = old.change or Change()
            tenure = change.tenure if old.era.link is self._by_tag[h[:2]].link else 0
            return _Told(*old.facts, old.era.known_until, change.at, tenure, not old.replaced)
        seen = self._seen.get(h)
        return None if seen is None else _Told(seen.known.record, seen.known.usage, seen.at, 0.0, 0, usable=True)

    def _as_told(self, told: _Told | None) -> KnownLicense | None:
        if told is None or not told.usable or not is_recent(told.known_until):
            return None
        return KnownLicense(told.record, told.usage, stale=True, known_until=told.known_until)

    def while_away(self, h: str) -> KnownLicense | None:
        """What is remembered, while Redis does not answer."""
        old = self._licenses.old(h)
        if old is None or old.replaced or not is_recent(old.era.known_until):
            return None
        record, usage = old.facts
        return KnownLicense(record, usage, stale=True, known_until=old.era.known_until)

    def while_loading(self, h: str, reading: Snapshot) -> KnownLicense | None:
        """While the bucket is being filled a record that is there is true, but a missing total is not zero.

        A record may also stand there from before (an old file, an unfinished rebuild), and be older than ours.
        """
        old = self._licenses.old(h)
        if old is None or not is_recent(old.era.known_until):
            return None
        record, usage = old.facts
        there = reading.record
        if there is not None and (record is None or _age(there) >= _age(record)):
            record = there
        elif old.replaced:
            return None
        usage = Usage({**usage.used, **reading.usage.used}, usage.held)
        return KnownLicense(record, usage, stale=True, known_until=old.era.known_until)


def is_recent(known_until: float) -> bool:
    """Whether what was known to be true up to this monotonic instant may still be told."""
    return monotonic() - known_until <= STALE_SECONDS


def _age(record: LicenseRecord) -> tuple[int, int]:
    return record.epoch, record.version
