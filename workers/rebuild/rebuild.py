"""Rebuild: fills an empty hot store from Postgres, and confirms one with data of another reign, in full operation.

Each second it asks which buckets lack a mark of their server's present reign (core/hotstore/server_facts.py): all of
them after a FLUSHALL, a restart or a failover, none on most days. It names an incarnation for each. Buckets that were
loaded in another reign are compared first (workers/rebuild/confirmation.py). Empty buckets are filled, and so are those
that differ much.

To fill, it first applies every API key of these buckets. Then it walks through the licenses, with their usage and
leases, page by page in the order in which they lie in Postgres (workers/rebuild/bulk_pages.py). Each walk serves a
quarter of the buckets, which are marked at its end. So a quarter of the customers waits for a quarter of the time, and
a worker that is killed leaves that much done. Memory is limited to two pages: one is read and packed while the one
before it is being sent.

A server that is demoted is left alone. An unfit server gets no mark: what it holds may be gone in a moment.

What changes meanwhile is not missed: a change that commits after its page was read has its own outbox row, and of two
states the newer one stays. What is lost meanwhile is noticed: a FLUSHALL takes the incarnation with it, so the next
page is refused, and so is the mark; the next look begins again. Each page is a short transaction, because a long one
would keep the outbox's dead rows from being cleaned away.

One worker rebuilds at a time, under an advisory lock: two would take each other's incarnations away for ever. The lock
only saves work. A worker that loses it with its connection can do no harm, since the marks are compared.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import bindparam

from core.hotstore import functions, keys
from core.hotstore.bulk_load import BulkLoad
from core.hotstore.client import StoreState
from core.hotstore.writer import Writer
from core.parts import step, succeeded
from core.telemetry import logger
from db.inbox import first_time
from db.models.licensing import ApiKey
from db.unit_of_work import Database
from workers.process.advisory_lock import only_one
from workers.projection import records
from workers.projection.hold_watch import HoldWatch
from workers.rebuild.bulk_pages import LicensePages
from workers.rebuild.confirmation import Confirmation, strides

PAGE: Final = 4000
ROUND: Final = 64
"""Buckets that are filled in one walk through the licenses, and marked at its end: a quarter of all."""

_LOOK_EACH: Final = 1.0
_ONE_AT_A_TIME: Final = 0x6E70_7262  # any constant: the holder of this advisory lock rebuilds
_BEFORE_ALL_IDS: Final = UUID(int=0)

StepT = TypeVar("StepT")

_API_KEYS_AFTER: Final = (
    records.API_KEYS.where(ApiKey.id > bindparam("after")).order_by(ApiKey.id).limit(bindparam("page"))
)


class Rebuild:
    def __init__(
        self,
        database: Database,
        writer: Writer,
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
        """Buckets that were not loaded, or not confirmed, at the last look; None before the first."""
        self.state: StoreState | None = None
        """The store as the last look saw it."""
        self._told_of_silence = False

    @property
    def complete(self) -> bool:
        return self.missing == 0 and self.state is not None and self.state.writable

    @property
    def unfit(self) -> str | None:
        """Why the server must not be relied on, as far as the last look could tell."""
        return None if self.state is None else self.state.unfit

    @property
    def reigns(self) -> Collection[str]:
        """The servers' reigns in which everything was found."""
        return () if self.state is None or not self.complete else frozenset(self.state.reigns)

    async def run(self) -> None:
        await _within(self._writer.load_functions())
        while True:
            if not await self.look():
                await self.look()  # perhaps only the functions were missing
            await _within(self._watch.look())
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def look(self) -> bool:
        """Rebuilds what is missing; True where nothing is missing any more, as far as this look can tell."""
        try:
            state = await self._see()
            if not state.writable:
                await self._writer.client.disconnect_idle()
            elif _lacking(state) and state.unfit is None:
                async with only_one(self._database, _ONE_AT_A_TIME) as alone:
                    if alone and _lacking(state := await self._see()):  # another worker may have just done it
                        await self._bring_back(state)
        except functions.FunctionsMissing:
            await _within(self._writer.load_functions())
            return False
        return self.complete

    async def _see(self) -> StoreState:
        before = self.unfit
        state = await _within(self._writer.client.state())
        self.state = state
        self.missing = len(_lacking(state))
        if state.unfit is not None and state.unfit != before:
            logger().error("redis.unfit", fault=state.unfit)
        if not all(facts.tells for facts in state.servers) and not self._told_of_silence:
            self._told_of_silence = True
            logger().warning(
                "redis.tells_no_policy", detail="set maxmemory-policy to noeviction: it cannot be read here"
            )
        return state

    async def _bring_back(self, state: StoreState) -> None:
        missing = _lacking(state)
        # Before the first mark: were holds lost that may still be alive? Then reservations wait.
        if await _within(self._first_ever()):
            await _within(self._watch.nothing_was_ever_held())
        holds_lost = await _within(self._watch.may_be_lost())
        tokens = await _within(self._writer.begin_rebuild(missing, holds_lost=holds_lost))
        # Comparing comes first, because it is cheap; what differs much is filled with the empty buckets.
        compared = len(state.unconfirmed)
        logger().info("rebuild.began", buckets=len(missing), compared=compared, holds_lost=holds_lost)
        began = monotonic()
        left = [*state.empty, *await self._confirm(state.unconfirmed, tokens)]
        if left and not await self._fill(sorted(left), tokens):
            return
        logger().info("rebuild.done", buckets=len(missing), filled=len(left), seconds=round(monotonic() - began, 2))

    async def _confirm(self, unconfirmed: Sequence[int], tokens: Mapping[int, str]) -> list[int]:
        """Compares and marks; answers the buckets that have to be filled again."""
        if not unconfirmed:
            return []
        confirmation = Confirmation(self._database, self._writer)
        if not await confirmation.api_keys(unconfirmed):
            return list(unconfirmed)
        left: list[int] = []
        for first, before in strides(unconfirmed):
            some = range(first, before)
            if not await confirmation.licenses(first, before):
                left += some
            elif not await self._mark(tokens, some):
                logger().warning("rebuild.overtaken", first=first, last=before - 1)
        logger().info("rebuild.compared", buckets=len(unconfirmed), mended=confirmation.repaired)
        return left

    async def _fill(self, missing: Sequence[int], tokens: Mapping[int, str]) -> bool:
        """False where another rebuild, or a loss, has overtaken it."""
        filling = BulkLoad(self._writer.client, {bucket: tokens[bucket] for bucket in missing})
        await _within(filling.begin())
        await self._load_api_keys(frozenset(missing))
        for start in range(0, len(missing), ROUND):
            some = missing[start : start + ROUND]
            if not (await self._load_licenses(some, filling) and await self._mark(tokens, some)):
                logger().warning("rebuild.overtaken", first=some[0], last=some[-1])
                return False
        return True

    async def _first_ever(self) -> bool:
        """Whether no store was ever filled from this database: then no reservation can have been lost.

        It is written down before the first mark. So after a crash it is assumed that reservations may be lost, which
        costs a minute without new ones.
        """
        async with self._database.as_system() as tx:
            return await first_time(tx.session, "hot_store", "filled")

    async def _mark(self, tokens: Mapping[int, str], buckets: Sequence[int]) -> bool:
        """False where an incarnation is gone; the other buckets are marked all the same."""
        refused = await _within(self._writer.mark_all_loaded({bucket: tokens[bucket] for bucket in buckets}))
        self.missing = max(0, (self.missing or 0) - len(buckets) + len(refused))
        return not refused

    async def _load_api_keys(self, buckets: frozenset[int]) -> None:
        """All of them before the first mark: a mark says that a bucket's API keys and licenses are all there."""
        after: UUID | None = _BEFORE_ALL_IDS
        while after is not None:
            after = await _within(self._load_page_of_api_keys(buckets, after))

    async def _load_page_of_api_keys(self, buckets: frozenset[int], after: UUID) -> UUID | None:
        """The id of the page's last key; None after the last page."""
        async with self._database.as_system() as tx:
            found = (await tx.session.execute(_API_KEYS_AFTER, {"after": after, "page": self._page})).all()
        if not found:
            return None
        mine = [row for row in found if keys.bucket_of_api_key(row.key_id) in buckets]
        await records.Rows(api_keys=[key for _, key in records.fit(mine, records.api_key_record)]).apply(self._writer)
        self._applied(len(mine))
        return cast("UUID", found[-1].id)

    async def _load_licenses(self, buckets: Collection[int], filling: BulkLoad) -> bool:
        """Applies the licenses of these buckets with leases and totals; False where an incarnation is gone."""
        pages = LicensePages(self._database, buckets, self._page)
        reading = asyncio.create_task(_within(pages.read(_BEFORE_ALL_IDS)))
        try:
            while (page := await reading) is not None:
                reading = asyncio.create_task(_within(pages.read(page.last)))  # while this one is being applied
                if not await _within(filling.send(page.batch)):
                    return False
                self._applied(page.batch.size)
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
        return True


def _lacking(state: StoreState) -> list[int]:
    return sorted(state.empty + state.unconfirmed)


async def _within(work: Awaitable[StepT]) -> StepT:
    async with step():
        return await work
