"""Store of licenses and API keys: from the near cache or from Redis; reservations in Redis only.

Each answer of Redis leads to one of three conclusions:

    the record is believed, or was just read, in a bucket that is loaded    conclusive
    "there is no such license", in such a bucket                            conclusive where staleness.py allows it
    anything else                                                           staleness.py: a stale answer, or NotReady

With the near cache off every license is read anew, and none is remembered for a time when Redis is away. What an answer
of Redis meant is kept beside it all the same: when the next answer is the same to the last byte, so is its meaning.
"""

from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

import structlog

from core.crypto.sealing import Sealer
from core.errors import Busy, Unavailable
from core.health import Dependency
from core.hotstore import codec, functions, keys
from core.hotstore.functions import FunctionsMissing, NotReady
from core.hotstore.snapshot import Snapshot, decode_snapshot, reserve_keys
from core.licensing.plan import Resource
from core.licensing.record import LeaseRecord, LicenseRecord
from core.resp.connection import Answer, pack
from core.resp.waiting import Reply, drive
from validator.redis.link import checked
from validator.redis.nodes import Nodes
from validator.store.backlog import Backlog
from validator.store.keyring import KeyRing
from validator.store.near_cache import (
    NEVER,
    CachedVerdict,
    CachedVerdicts,
    Entry,
    KnownLicense,
    NearCache,
    SeenAnswer,
)
from validator.store.reads import LicenseReads, Tell
from validator.store.shares import Shares
from validator.store.sized_cache import SizedCache, heap_bytes
from validator.store.staleness import StaleAnswers, Trust

_READINESS_SECONDS: Final = 0.2
_LATE_SECONDS: Final = 1.0  # far above MAX_AGE: after a pause Redis is read, and its state is not changed

log = structlog.get_logger()


class Store:
    def __init__(self, url: str, sealer: Sealer, *, near_cache: bool, most: Shares) -> None:
        kinds = [keys.API_KEY_KIND, keys.MARK_KIND]
        if near_cache:
            kinds += [keys.DOCUMENT_KIND, keys.USAGE_KIND, keys.HOLDS_KIND]
        self.nodes = Nodes(url, [f"{kind}:" for kind in kinds], self._changed)
        self._eras = self.nodes.eras
        self._by_tag = self._eras.by_tag
        self.trust = Trust(self.nodes)
        self.api_keys = KeyRing(self._eras, self.trust, sealer, most.api_keys)
        self._licenses = NearCache(self._eras, most.licenses)
        self._known_license = self._licenses.held.get  # a call less for each answer from memory
        self._near_cache = near_cache
        self._reads = LicenseReads(self._by_tag, self._conclude, shared=near_cache)
        self._seen: SizedCache[str, SeenAnswer] = SizedCache(most.licenses // _SEEN_SHARE, _bytes_of)
        self._stale = StaleAnswers(self._eras, self.trust, self._licenses, None if near_cache else self._seen)
        self._readiness: tuple[float, str | None] = (float("-inf"), None)

    def peek(self, h: str, now: float) -> Entry | None:
        """The entry of a license, if it is believed at the monotonic instant `now`."""
        entry = self._known_license(h) or self._licenses.get(h)
        if entry is not None and entry.change is None and now < entry.ends_at:
            era = entry.era
            if era.live and now <= era.fence.fresh_until:
                return entry
        return None

    async def license(self, h: str) -> KnownLicense:
        """What is known of it. Raises NotReady where nothing may be concluded; Busy where it would wait long."""
        if self._near_cache:
            await self._by_tag[h[:2]].fence.catch_up()
            entry = self.peek(h, monotonic())
            if entry is not None:
                return self._of_entry(h, entry)
        if self.backlog.is_long:
            raise Busy
        read: Reply[KnownLicense | Unavailable] = Reply()
        self._reads.ask(h, read.resolve)
        known = await read
        if isinstance(known, Unavailable):
            raise known
        return known

    def when_known(self, h: str, tell: Tell) -> None:
        """Calls `tell` with the same, or with the refusal; for a caller that has just found nothing with `peek`.

        The caller looks at `backlog` before.
        """
        if self._near_cache and self._by_tag[h[:2]].fence.is_late:
            drive(self.license(h), tell, partial(_tell_fault, tell))
        else:
            self._reads.ask(h, tell)

    def _of_entry(self, h: str, entry: Entry) -> KnownLicense:
        record, usage = entry.facts
        known = KnownLicense(record, usage, stale=False, known_until=entry.era.known_until, given=entry)
        if isinstance(concluded := self._certain_of_no(h, known), NotReady):
            raise concluded
        return concluded

    def keep(self, h: str, given: CachedVerdicts, verdict: CachedVerdict, until: float) -> None:
        """Keeps a verdict beside what it was made from; `until`: unix time until which it holds."""
        if isinstance(given, Entry):
            self._licenses.keep(h, given, verdict, until)
        elif not verdict.own_bytes:
            given.keep(verdict, until)

    @property
    def backlog(self) -> Backlog:
        return self._reads.backlog

    @property
    def reads(self) -> int:
        """How many licenses had to be read from Redis."""
        return self._reads.number

    @property
    def remembered(self) -> int:
        return len(self._licenses)

    @property
    def held(self) -> Mapping[str, SizedCache[Any, Any]]:
        """The caches that are bounded by bytes, by the name of what they hold."""
        return {"licenses": self._licenses.held if self._near_cache else self._seen, "api_keys": self.api_keys.held}

    def forget(self, h: str) -> None:
        """The license is read from Redis the next time."""
        self._licenses.changed(h)

    async def reserve(
        self, h: str, record: LicenseRecord, resource: Resource, count: int, ttl: int, hold_id: str
    ) -> tuple[str, int]:
        """One of the answers that functions.lua lists for `reserve`, and its number. `ttl` in seconds."""
        link = self._by_tag[h[:2]].link
        run_id = link.run_id
        if run_id is None:
            raise NotReady("Redis does not answer")
        names = reserve_keys(h)
        outcome, *number = await link.ask(
            "FCALL", functions.RESERVE, len(names), *names,
            resource, count, ttl * 1000, hold_id, record.epoch, record.version, run_id[: keys.RUN_ID_LENGTH],
            int((self.nodes.sync.fence.synced_through or 0) * 1000),
        )  # fmt: skip
        return outcome.decode(), number[0] if number else 0

    async def release(self, h: str, hold_id: str) -> str:
        """`released`, `pinned` or `gone`."""
        answer: bytes = await self._by_tag[h[:2]].link.ask(
            "FCALL", functions.RELEASE, 3, keys.holds(h), keys.hold_ends(h), keys.ended_of(h), hold_id
        )
        return answer.decode()

    async def lease(self, h: str) -> LeaseRecord | None:
        packed: bytes | None = await self._by_tag[h[:2]].link.ask("GET", keys.lease(h))
        return None if packed is None else codec.decode_lease(packed)

    async def jwks(self) -> bytes:
        """The public keys of the leases, as JSON."""
        document: bytes | None = await self.nodes.jwks.ask("GET", keys.JWKS)
        if document is None:
            raise NotReady("the keys have not been published yet: try again")
        return document

    @property
    def hears_changes(self) -> bool:
        """Whether every change in Redis is known here in time."""
        return monotonic() - self.nodes.proven <= _LATE_SECONDS

    async def condition(self) -> Dependency:
        """The state of Redis for /health/dependencies: everything that makes it unfit for verdicts counts."""
        if not self.nodes.up:
            return Dependency.SILENT
        if self.nodes.writable and not self.hears_changes:  # a replica may refuse reads, too (MASTERDOWN)
            return Dependency.SILENT
        loading = await self._fault() is not None
        if not self.nodes.writable:
            return Dependency.READ_ONLY
        if self.nodes.unfit is not None:
            return Dependency.UNFIT
        return Dependency.LOADING if loading else Dependency.OK

    @property
    def loaded(self) -> bool:
        """Whether every bucket was loaded at the last call of `condition`."""
        return self._readiness[1] is None and self._readiness[0] > 0

    async def _fault(self) -> str | None:
        """Why a server that answers lacks something now; None if it lacks nothing."""
        at, verdict = self._readiness
        if monotonic() - at > _READINESS_SECONDS:
            try:
                verdict = await self._loading()
            except NotReady as fault:
                verdict = fault.detail
            self._readiness = (monotonic(), verdict)
        return verdict

    async def _loading(self) -> str | None:
        for link in self.nodes.serving:
            if not await link.ask("FUNCTION", "LIST", "LIBRARYNAME", functions.LIBRARY):
                return FunctionsMissing().detail
        links = [self._eras.of(bucket).link for bucket in range(keys.BUCKETS)]
        asked = [link.call(pack("HGET", keys.mark(bucket), "loaded")) for bucket, link in enumerate(links)]
        marks = [checked(await answer) for answer in asked]
        missing = sum(not link.of_this_run(mark) for link, mark in zip(links, marks, strict=True))
        return f"{missing} of {keys.BUCKETS} buckets are not loaded" if missing else None

    def _changed(self, key: bytes) -> None:
        kind, bucket, subject = keys.parts(key.decode())
        if kind == keys.MARK_KIND:
            self._eras.end(bucket)
        elif kind == keys.API_KEY_KIND:
            self.api_keys.changed(subject.encode())
        else:
            self._licenses.changed(subject, replaced=kind == keys.DOCUMENT_KIND, used=kind == keys.USAGE_KIND)

    def _conclude(self, h: str, mark: Answer, packed: Answer) -> KnownLicense | NotReady:
        """Concludes from an answer of Redis, and from what is remembered where that is not enough."""
        known = self._concluded(h, mark, packed) if self._near_cache else self._seen_before(h, mark, packed)
        return known if isinstance(known, NotReady) else self._certain_of_no(h, known)

    def _certain_of_no(self, h: str, known: KnownLicense) -> KnownLicense | NotReady:
        """NotReady instead of "there is no such license" where that is not certain."""
        if known.record is not None and not known.record.tombstone:
            return known
        if known.stale or not self.trust.denies(self._by_tag[h[:2]].link):
            return NotReady("the license is not known here yet: try again")
        return known

    def _seen_before(self, h: str, mark: Answer, packed: Answer) -> KnownLicense | NotReady:
        """With the near cache off: an answer that is the same to the last byte as the one before means the same."""
        link = self._by_tag[h[:2]].link
        seen = self._seen.get(h)
        if seen is not None and seen.packed == packed and seen.mark == mark and seen.run_id == link.run_id:
            return seen.known
        known = self._concluded(h, mark, packed)
        if isinstance(known, NotReady):
            return known
        run_id = None if known.given is None else link.run_id
        at = known.known_until if known.stale else monotonic()
        self._seen.put(h, SeenAnswer(mark, packed, run_id, known, at))
        return known

    def _concluded(self, h: str, mark: Answer, packed: Answer) -> KnownLicense | NotReady:
        try:
            loaded, reading = checked(mark), decode_snapshot(checked(packed))
        except NotReady as fault:
            return self._stale.while_away(h) or fault
        except ValueError as fault:
            log.exception("license.unreadable", bucket=h[:2], exc_info=fault)
            return self._stale.while_away(h) or NotReady("the stored record of this license cannot be read")
        if loaded is None:
            return self._stale.while_loading(h, reading) or NotReady("the data is being loaded: try again")
        if self._by_tag[h[:2]].link.of_this_run(loaded):
            return self._certain(h, reading, packed)
        return self._stale.of_another_reign(h, reading)

    def _certain(self, h: str, reading: Snapshot, packed: bytes) -> KnownLicense:
        record, usage, ends_in = reading
        if self._near_cache:
            now = monotonic()
            known = record is not None and not record.tombstone
            ends_at = NEVER if ends_in is None else now + ends_in
            if not known:
                ends_at = min(ends_at, self.trust.denies_until(self._by_tag[h[:2]].link))
            entry = self._licenses.put(h, packed, ends_at, known=record is not None)
            return KnownLicense(record, usage, stale=False, known_until=now, given=entry)
        # It is used again only after an equal answer, so it is always of that moment.
        given = CachedVerdicts() if ends_in is None else None
        return KnownLicense(record, usage, stale=False, known_until=NEVER, given=given)


def _tell_fault(tell: Tell, fault: Exception) -> None:
    tell(fault if isinstance(fault, Unavailable) else NotReady("the license cannot be looked up"))


_SEEN_SHARE: Final = 4  # what is read anew each time is worth less room
_SEEN_BYTES: Final = 2048
"""An answer with what it meant, unpacked."""


def _bytes_of(h: str, seen: SeenAnswer) -> int:
    return heap_bytes(h) + heap_bytes(seen.packed) + _SEEN_BYTES
