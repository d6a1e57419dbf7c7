"""Fills an empty hot store from Postgres, bucket by bucket, while everything else goes on.

Each second it asks which buckets lack their mark: all of them after a FLUSHALL or a restart of the server, none on most
days. It names an incarnation for each, applies every API key of these buckets, then streams licences with their usage
and leases in the order of their hashes, which is the order of the buckets. So memory is bounded by a page, and a bucket
is marked as loaded as soon as the stream has passed it.

What changes meanwhile is not missed: a change that commits after its page was read has its own outbox row, and of two
states the newer one stays. What is lost meanwhile is not overlooked: a FLUSHALL takes the incarnation with it, so the
mark's compare-and-set fails and the next look begins again. Pages are short transactions of their own, because a long
one would keep the outbox's dead rows from being cleaned away.

One worker rebuilds at a time, under an advisory lock: two would take each other's incarnations away for ever. The lock
saves work only; a worker that loses it with its connection can do no harm, since the marks are compared.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, any_, bindparam

from core.hotstore import functions, keys
from core.hotstore.writer import HotStoreWriter
from core.telemetry import logger
from db.inbox import first_time
from db.models.leases import LeaseRow
from db.models.licensing import ApiKey, License, LicenseUsage
from db.unit_of_work import Database
from workers import projection
from workers.alone import only_one
from workers.hold_watch import HoldWatch
from workers.projection import Rows

PAGE: Final = 1000
_LOOK_EACH: Final = 1.0
_STEP_WITHIN: Final = 30.0
_ONE_AT_A_TIME: Final = 0x6E70_7262  # any constant: who holds this advisory lock rebuilds
_BEFORE_ALL_IDS: Final = UUID(int=0)

_LICENSES_AFTER: Final = (
    projection.LICENSES.where(License.license_key_hash > bindparam("after"))
    .order_by(License.license_key_hash)
    .limit(bindparam("page"))
)
_LICENSES_BETWEEN: Final = _LICENSES_AFTER.where(License.license_key_hash < bindparam("before"))
_IDS: Final = any_(bindparam("ids", type_=ARRAY(Uuid())))
_USAGE_OF: Final = projection.USAGE.where(LicenseUsage.license_id == _IDS)
_LEASES_OF: Final = projection.LEASES.where(LeaseRow.license_id == _IDS)
_API_KEYS_AFTER: Final = (
    projection.API_KEYS.where(ApiKey.id > bindparam("after")).order_by(ApiKey.id).limit(bindparam("page"))
)


class _Page(NamedTuple):
    """Licences as they were read, with all that is theirs; `last` is the last one's hash."""

    rows: Rows
    size: int
    last: bytes


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
        await self._writer.load_functions()
        while True:
            await self.look()
            await self._watch.look()
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
            await self._writer.load_functions()
            return False
        return self.complete

    async def _find_missing(self) -> list[int]:
        async with asyncio.timeout(_STEP_WITHIN):
            missing = await self._writer.missing_buckets()
        self.missing = len(missing)
        return missing

    async def _rebuild(self, missing: Sequence[int]) -> None:
        if await self._first_ever():
            await self._watch.nothing_was_ever_held()
        holds_lost = await self._watch.may_be_lost()
        tokens = await self._writer.begin_rebuild(missing, holds_lost=holds_lost)
        logger().info("rebuild.began", buckets=len(missing), holds_lost=holds_lost)
        await self._load_api_keys(frozenset(missing))
        # Two streams: while Redis works off a page of one, this process makes records of the other's.
        half = len(missing) // 2
        async with asyncio.TaskGroup() as streams:
            filled = [
                streams.create_task(self._fill_all(tokens, some)) for some in (missing[:half], missing[half:]) if some
            ]
        if all(stream.result() for stream in filled):
            logger().info("rebuild.done", buckets=len(missing))

    async def _fill_all(self, tokens: dict[int, str], buckets: Sequence[int]) -> bool:
        for start, end in runs(buckets):
            if not await self._fill(tokens, start, end):
                return False
        return True

    async def _fill(self, tokens: dict[int, str], start: int, end: int) -> bool:
        """Loads and marks the buckets from `start` up to `end`; False where an incarnation is gone."""
        passed = start
        async with aclosing(self._load_licenses(start, end)) as pages:
            async for reached in pages:
                if not await self._mark(tokens, passed, reached):
                    return False
                passed = reached
        return await self._mark(tokens, passed, end)

    async def _first_ever(self) -> bool:
        """Whether no store was ever filled from this database: then nobody holds a reservation that was lost.

        Written down before the first mark, so that a crash errs towards "reservations may be lost", which costs a
        minute without new ones.
        """
        async with self._database.as_system() as tx:
            return await first_time(tx.session, "hot_store", "filled")

    async def _mark(self, tokens: dict[int, str], start: int, end: int) -> bool:
        """Marks buckets from `start` up to but not including `end`; False where an incarnation is gone."""
        for bucket in range(start, end):
            async with asyncio.timeout(_STEP_WITHIN):
                marked = await self._writer.mark_loaded(bucket, tokens[bucket])
            if not marked:
                logger().warning("rebuild.overtaken", bucket=bucket)
                return False
            self.missing = max(0, (self.missing or 0) - 1)
        return True

    async def _load_api_keys(self, buckets: frozenset[int]) -> None:
        """All of them before the first mark: it vouches for a bucket's keys and its licences alike."""
        after: UUID | None = _BEFORE_ALL_IDS
        while after is not None:
            async with asyncio.timeout(_STEP_WITHIN):
                after = await self._load_page_of_api_keys(buckets, after)

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

    async def _load_licenses(self, start: int, end: int) -> AsyncGenerator[int, None]:
        """Applies licences of the buckets from `start` up to `end` with all that is theirs; says how far each page got.

        The bucket that it names may go on in the next page; all before it are complete.
        """
        after = bytes([start])  # sorts before every hash of the bucket and after those of the one before
        reading = asyncio.create_task(self._read_licenses(after, end))
        try:
            while (page := await reading) is not None:
                reading = asyncio.create_task(self._read_licenses(page.last, end))  # while this one is being applied
                async with asyncio.timeout(_STEP_WITHIN):
                    await page.rows.apply(self._writer)
                self._applied(page.size)
                yield page.last[0]
        finally:
            reading.cancel()
            await asyncio.wait((reading,))

    async def _read_licenses(self, after: bytes, end: int) -> _Page | None:
        """The licences that follow `after` in the order of their hashes, before the bucket `end`; None: no more."""
        bounds: dict[str, Any] = {"after": after, "page": self._page}
        statement = _LICENSES_AFTER
        if end < keys.BUCKETS:
            bounds["before"] = bytes([end])
            statement = _LICENSES_BETWEEN
        async with asyncio.timeout(_STEP_WITHIN), self._database.as_system() as tx:
            found = (await tx.session.execute(statement, bounds)).all()
            licenses = projection.fit(found, projection.license_record)
            ids = {"ids": [row.id for row, _ in licenses]}
            usage = (await tx.session.execute(_USAGE_OF, ids)).all()
            leases = (await tx.session.execute(_LEASES_OF, ids)).all()
        if not found:
            return None
        rows = Rows(
            [record for _, record in licenses],
            projection.usage_totals(usage),
            leases=[projection.lease_record(row) for row in leases],
        )
        return _Page(rows, len(found), found[-1].license_key_hash)


def runs(buckets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending buckets as ranges without gaps: 3 4 5 9 → (3, 6) (9, 10)."""
    for _, run in groupby(enumerate(sorted(buckets)), key=lambda pair: pair[1] - pair[0]):
        members = [bucket for _, bucket in run]
        yield members[0], members[-1] + 1
