"""Store of licenses and API keys: from the near cache or from Redis; reservations in Redis only.

Each answer of Redis leads to one of three conclusions:

    the record is believed, or was just read, in a bucket that is loaded    conclusive
    "there is no such license", in such a bucket                            conclusive where staleness.py allows it
    anything else                                                           staleness.py: a stale answer, or NotReady

With the near cache off every license is read anew, and none is remembered for a time when Redis is away. What an answer
of Redis meant is kept beside it all the same: when the next answer is the same to the last byte, so is its meaning.
"""

from functools import partial
from time import monotonic
from typing import Final

import structlog

from core.crypto.sealing import Sealer
from core.health import Dependency
from core.hotstore import codec, functions, keys
from core.hotstore.functions import FunctionsMissing, NotReady
from core.hotstore.snapshot import (
    Reading,
    decode_reading,
    read_command,
    reserve_keys,
)
from core.licensing.plan import Resource
from core.licensing.record import LeaseRecord, LicenseRecord
from core.resp.connection import Answer, pack
from core.resp.waiting import Reply
from validator.redis.link import checked
from validator.redis.nodes import Nodes
from validator.store.bounded_cache import BoundedCache
from validator.store.keyring import KeyRing
from validator.store.near_cache import CachedVerdicts, Entry, KnownLicense, NearCache, SeenAnswer
from validator.store.staleness import StaleAnswers, Trust

_READINESS_SECONDS: Final = 0.2
_LATE_SECONDS: Final = 1.0  # far above MAX_AGE: after a pause Redis is read, and its state is not changed

log = structlog.get_logger()


class Store:
    def __init__(self, url: str, sealer: Sealer, *, near_cache: bool, most: int) -> None:
        """`most`: how many licenses are cached, and half as many API keys."""
        kinds = [keys.API_KEY_KIND, keys.MARK_KIND]
        if near_cache:
            kinds += [keys.DOCUMENT_KIND, keys.USAGE_KIND, keys.HOLDS_KIND]
        self.nodes = Nodes(url, [f"{kind}:" for kind in kinds], self._changed)
        self._eras = self.nodes.eras
        self._by_tag = self._eras.by_tag
        self.trust = Trust(self.nodes)
        self.api_keys = KeyRing(self._eras, self.trust, sealer, max(1, most // 2))
        self._licenses = NearCache(self._eras, most)
        self._near_cache = near_cache
        self._under_way: dict[str, Reply[KnownLicense | NotReady]] = {}
        self._seen: BoundedCache[str, SeenAnswer] = BoundedCache(most)
        self._stale = StaleAnswers(self._eras, self.trust, self._licenses, None if near_cache else self._seen)
        self._readiness: tuple[float, str | None] = (float("-inf"), None)
        self.reads = 0
        """How many licenses had to be read from Redis."""

    def peek(self, h: str, now: float) -> Entry | None:
        """The entry of a license, if it is believed at the monotonic instant `now`."""
        entry = self._licenses.get(h)
        if entry is not None and entry.current and now < entry.ends_at:
            era = entry.era
            if era.live and now <= era.fence.fresh_until:
                return entry
        return None

    async def license(self, h: str) -> KnownLicense:
        """What is known of the license. Raises NotReady where nothing may be concluded."""
        known = await self._known(h) if self._near_cache else await self._look(h)
        if known.record is None or known.record.tombstone:
            self._deny(h, known)
        return known

    async def _known(self, h: str) -> KnownLicense:
        await self._by_tag[h[:2]].fence.catch_up()
        entry = self.peek(h, monotonic())
        if entry is not None:
            record, usage = entry.facts
            return KnownLicense(record, usage, stale=False, known_until=entry.era.known_until, given=entry)
        known = await self._read(h)
        if isinstance(known, NotReady):
            raise known
        return known

    def _deny(self, h: str, known: KnownLicense) -> None:
        """Raises NotReady where "there is no such license" is not certain."""
        if known.stale or not self.trust.denies(self._by_tag[h[:2]].link):
            raise NotReady("the license is not known here yet: try again")

    @property
    def remembered(self) -> int:
        return len(self._licenses)

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

    async def _look(self, h: str) -> KnownLicense:
        """Reads the license, with the near cache off: no caller gets an answer to an earlier question."""
        link = self._by_tag[h[:2]].link
        self.reads += 1
        answer = await link.call(packed_read(h))
        seen = self._seen.items.get(h)
        if seen is not None and seen.answer == answer and seen.run_id == link.run_id:
            return seen.known
        known = self._conclude(h, answer)
        if isinstance(known, NotReady):
            raise known
        run_id = None if known.given is None else link.run_id
        self._seen.put(h, SeenAnswer(answer, run_id, known, known.known_until if known.stale else monotonic()))
        return known

    def _read(self, h: str) -> Reply[KnownLicense | NotReady]:
        """Reads the license for the cache; callers that come meanwhile wait for the same answer."""
        under_way = self._under_way.get(h)
        if under_way is not None:
            return under_way
        result: Reply[KnownLicense | NotReady] = Reply()
        self._under_way[h] = result
        self.reads += 1
        answer = self._by_tag[h[:2]].link.call(packed_read(h))
        answer.when_done(partial(self._have_read, h, answer, result))
        return result

    def _have_read(self, h: str, answer: Reply[Answer], result: Reply[KnownLicense | NotReady]) -> None:
        del self._under_way[h]
        result.resolve(self._conclude(h, answer.value))

    def _conclude(self, h: str, answer: Answer) -> KnownLicense | NotReady:
        """Concludes from an answer of Redis, and from what is remembered where that is not enough."""
        try:
            reading = decode_reading(checked(answer))
        except NotReady as fault:
            return self._stale.while_away(h) or fault
        except ValueError as fault:
            log.exception("license.unreadable", bucket=h[:2], exc_info=fault)
            return self._stale.while_away(h) or NotReady("the stored record of this license cannot be read")
        if reading.loaded is None:
            return self._stale.while_loading(h, reading) or NotReady("the data is being loaded: try again")
        if self._by_tag[h[:2]].link.of_this_run(reading.loaded):
            return self._certain(h, reading)
        return self._stale.of_another_reign(h, reading)

    def _certain(self, h: str, reading: Reading) -> KnownLicense:
        record, usage, ends_in = reading.record, reading.usage, reading.hold_ends_in
        if self._near_cache:
            ends_at = float("inf") if ends_in is None else monotonic() + ends_in
            if record is None or record.tombstone:
                ends_at = min(ends_at, self.trust.denies_until(self._by_tag[h[:2]].link))
            entry = self._licenses.put(h, record, usage, ends_at)
            return KnownLicense(record, usage, stale=False, known_until=monotonic(), given=entry)
        # It is used again only after an equal answer, so it is always of that moment.
        given = CachedVerdicts() if ends_in is None else None
        return KnownLicense(record, usage, stale=False, known_until=float("inf"), given=given)


def packed_read(h: str) -> bytes:
    """The command that reads a license. Every `h` has one length, so all but the names is packed in advance."""
    name = h.encode()
    bucket = name[:2]
    return _PACKED_READ % (bucket, name, bucket, name, bucket, name, bucket, name, bucket)


_PLACE: Final = "zz" * keys.HASH_BYTES
_PACKED_READ: Final = pack(*read_command(_PLACE)).replace(b"{zz}", b"{%b}").replace(_PLACE.encode(), b"%b")
