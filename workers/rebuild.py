"""Fills an empty hot store from Postgres, while everything else goes on.

Each second it asks which buckets lack their mark: all of them after a FLUSHALL or a restart of the server, none on most
days. It names an incarnation for each and applies every API key of these buckets. Then it walks through the licenses,
with their usage and leases, page by page in the order in which they lie in Postgres (workers/bulk.py), for a quarter of
the buckets at a time, which are marked at the end of the walk. So a quarter of the customers waits for a quarter of the
time, and a worker that is killed leaves that much done. Memory is bounded by two pages: one is read and packed while
the one before it is on its way.

What changes meanwhile is not missed: a change that commits after its page was read has its own outbox row, and of two
states the newer one stays. What is lost meanwhile is not overlooked: a FLUSHALL takes the incarnation with it, so the
next page is refused, and so is the mark; the next look begins again. Pages are short transactions of their own, because
a long one would keep the outbox's dead rows from being cleaned away.

One worker rebuilds at a time, under an advisory lock: two would take each other's incarnations away for ever. The lock
saves work only; a worker that loses it with its connection can do no harm, since the marks are compared.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import bindparam

from core.hotstore import functions, keys
from core.hotstore.filling import HotStoreFilling
from core.hotstore.writer import HotStoreWriter
from core.parts import step, succeeded
from core.telemetry import logger
from db.inbox import first_time
from db.models.licensing import ApiKey
from db.unit_of_work import Database
from workers import projection
from workers.alone import only_one
from workers.bulk import LicensePages
from workers.hold_watch import HoldWatch
from workers.projection import Rows

PAGE: Final = 4000
ROUND: Final = 64
"""Buckets that are filled in one walk through the licenses, and marked at its end: a quarter of all."""

_LOOK_EACH: Final = 1.0
_ONE_AT_A_TIME: Final = 0x6E70_7262  # any constant: who holds this advisory lock rebuilds
_BEFORE_ALL_IDS: Final = UUID(int=0)

StepT = TypeVar("StepT")

_API_KEYS_AFTER: Final = (
    projection.API_KEYS.where(ApiKey.id > bindparam("after")).order_by(ApiKey.id).limit(bindparam("page"))
)


class Rebuild:
    def __init__(
        self,
        database: Database,
        writer: HotStoreWriter,
        *,
        page: int = PAGE,
        applied: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`applied` is told how many rows each page carried."""
        self._database = database
        self._writer = writer
        self._watch = HoldWatch(writer)
        self._page = page
        self._applied = applied
        self.missing: int | None = None
        """Buckets without a mark at the last look; None before the first."""

    @property
    def complete(self) -> bool:
        return self.missing == 0

    async def run(self) -> None:
        await _within(self._writer.load_functions())
        while True:
            await self.look()
            await _within(self._watch.look())
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def look(self) -> bool:
        """Rebuilds what is missing; True where nothing is missing any more, as far as this look can say."""
        try:
            missing = await self._find_missing()
            if missing:
                async with only_one(self._database, _ONE_AT_A_TIME) as alone:
                    missing = await self._find_missing() if alone else []  # another one may have just been at it
                    if missing:
                        await self._rebuild(missing)
        except functions.FunctionsMissing:
            await _within(self._writer.load_functions())
            return False
        return self.complete

    async def _find_missing(self) -> list[int]:
        missing = await _within(self._writer.missing_buckets())
        self.missing = len(missing)
        return missing

    async def _rebuild(self, missing: Sequence[int]) -> None:
        if await _within(self._first_ever()):
            await _within(self._watch.nothing_was_ever_held())
        holds_lost = await _within(self._watch.may_be_lost())
        tokens = await _within(self._writer.begin_rebuild(missing, holds_lost=holds_lost))
        logger().info("rebuild.began", buckets=len(missing), holds_lost=holds_lost)
        filling = HotStoreFilling(self._writer, tokens)
        await _within(filling.begin())
        await self._load_api_keys(frozenset(missing))
        for start in range(0, len(missing), ROUND):
            some = missing[start : start + ROUND]
            if not (await self._load_licenses(some, filling) and await self._mark(tokens, some)):
                logger().warning("rebuild.overtaken", first=some[0], last=some[-1])
                return
        logger().info("rebuild.done", buckets=len(missing))

    async def _first_ever(self) -> bool:
        """Whether no store was ever filled from this database: then nobody holds a reservation that was lost.

        Written down before the first mark, so that a crash errs towards "reservations may be lost", which costs a
        minute without new ones.
        """
        async with self._database.as_system() as tx:
            return await first_time(tx.session, "hot_store", "filled")

    async def _mark(self, tokens: Mapping[int, str], buckets: Sequence[int]) -> bool:
        """False where an incarnation is gone; the others are marked all the same."""
        refused = await _within(self._writer.mark_all_loaded({bucket: tokens[bucket] for bucket in buckets}))
        self.missing = max(0, (self.missing or 0) - len(buckets) + len(refused))
        return not refused

    async def _load_api_keys(self, buckets: frozenset[int]) -> None:
        """All of them before the first mark: it vouches for a bucket's keys and its licences alike."""
        after: UUID | None = _BEFORE_ALL_IDS
        while after is not None:
            after = await _within(self._load_page_of_api_keys(buckets, after))

    async def _load_page_of_api_keys(self, buckets: frozenset[int], after: UUID) -> UUID | None:
        """The last one's id; None after the last page."""
        async with self._database.as_system() as tx:
            found = (await tx.session.execute(_API_KEYS_AFTER, {"after": after, "page": self._page})).all()
        if not found:
            return None
        mine = [row for row in found if keys.bucket_of_api_key(row.key_id) in buckets]
        await Rows(api_keys=[key for _, key in projection.fit(mine, projection.api_key_record)]).apply(self._writer)
        self._applied(len(mine))
        return cast("UUID", found[-1].id)

    async def _load_licenses(self, buckets: Collection[int], filling: HotStoreFilling) -> bool:
        """Applies the licenses of these buckets with all that is theirs; False where an incarnation is gone."""
        pages = LicensePages(self._database, buckets, self._page)
        reading = asyncio.create_task(_within(pages.read(_BEFORE_ALL_IDS)))
        try:
            while (page := await reading) is not None:
                reading = asyncio.create_task(_within(pages.read(page.last)))  # while this one is being applied
                if not await _within(filling.send(page.load)):
                    return False
                self._applied(page.load.size)
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
        return True


async def _within(work: Awaitable[StepT]) -> StepT:
    async with step():
        return await work


def runs(buckets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending buckets as ranges without gaps: 3 4 5 9 → (3, 6) (9, 10)."""
    for _, run in groupby(enumerate(sorted(buckets)), key=lambda pair: pair[1] - pair[0]):
        members = [bucket for _, bucket in run]
        yield members[0], members[-1] + 1
