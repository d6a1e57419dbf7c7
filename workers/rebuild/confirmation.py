"""Confirmation: compares a store that has data of another reign by digests, before a rebuild.

A server that has restarted has an append-only file of a second ago, or a restored one of last week; a promoted replica
may lag. Usually next to nothing differs, and finding that out takes a fraction of a rebuild. So all buckets are
compared with Postgres as reconciliation does it (workers/reconciliation/screening.py), and what differs is repaired:

- what Postgres knows is applied; as ever only newer records replace older ones (a suspended license, a lost total);
- what Postgres does not know becomes a tombstone (a license key that was rotated after the file was written);
- what cannot be read is replaced by what is applied (here nothing is concluded from its absence);
- where much differs, the bucket is left to the rebuild, which is faster then.

A change that commits meanwhile is not missed: it has its own outbox row, and of two states the newer one stays.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from redis.exceptions import ResponseError

from core.hotstore.comparison import Comparison, Repair
from core.hotstore.writer import UsageTotal, Writer
from core.licensing.record import ApiKeyRecord, LeaseRecord, LicenseRecord
from core.parts import beat
from db.unit_of_work import Database
from workers.reconciliation.buckets import runs
from workers.reconciliation.expected import (
    ApiKeyTruth,
    Expected,
    LicenseTruth,
    Truth,
)
from workers.reconciliation.screening import Screening

STRIDE: Final = 32
"""Buckets that are compared, and marked, together."""
_BATCH: Final = 200
_AT_ONCE: Final = 12
"""Digests in one pipeline. On a busy machine a worker waits longer for its turn than for an answer, and until it has
compared everything, every answer is stale. Redis is blocked for 8 ms; validators wait for 50."""
_MANY: Final = 2000
"""A stride with more differences is left to the rebuild."""


class Confirmation:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._comparison = Comparison(writer.client)
        self._screening = Screening(database, self._comparison, at_once=_AT_ONCE)
        self.repaired = 0
        """Records that differed and were repaired one by one."""

    async def api_keys(self, buckets: Collection[int]) -> bool:
        """False where so many differ that they have to be loaded again."""
        return all([await self._stride(ApiKeyTruth(), first, before) for first, before in strides(buckets)])

    async def licenses(self, first: int, before: int) -> bool:
        """Of the buckets from `first` up to but not including `before`; False as above."""
        return await self._stride(LicenseTruth(), first, before)

    async def _stride(self, truth: Truth, first: int, before: int) -> bool:
        screened = await self._screening.screen(truth.kind, first, before)
        if not screened.suspects:
            return True
        async with self._database.as_system() as tx:
            known = set(await truth.names(tx.session, first, before))
        await self._bury(truth, [name for name in screened.suspects if name not in known])
        left = [name for name in screened.suspects if name in known]
        if len(left) > _MANY:
            return False
        for some in _batches(left):
            beat()
            try:
                await self._apply_again(truth, some)
            except ResponseError as failure:
                if type(failure) is not ResponseError:  # the server takes no writes
                    raise
                await self._comparison.clear(truth.kind, some)
                await self._apply_again(truth, some)  # read again: what a relay has applied since is gone as well
        self.repaired += len(screened.suspects)
        return True

    async def _apply_again(self, truth: Truth, names: Sequence[str]) -> None:
        async with self._database.as_system() as tx:
            expected = await truth.read(tx.session, names)
        await self._apply(expected.items())

    async def _bury(self, truth: Truth, names: Sequence[str]) -> None:
        for some in _batches(names):
            records_there = await self._comparison.stored(truth.kind, some)
            repairs = [
                Repair(name, stored, truth.nothing(name), None, {})
                for name, stored in records_there.items()
                if not stored.absent
            ]
            if repairs:
                await self._comparison.repair(truth.kind, repairs)

    async def _apply(self, expected: Iterable[tuple[str, Expected]]) -> None:
        licenses: list[tuple[bytes, LicenseRecord]] = []
        leases: list[tuple[bytes, LeaseRecord]] = []
        totals: list[UsageTotal] = []
        api_keys: list[ApiKeyRecord] = []
        for name, one in expected:
            if isinstance(one.record, ApiKeyRecord):
                api_keys.append(one.record)
                continue
            digest = bytes.fromhex(name)
            licenses.append((digest, one.record))
            leases += [] if one.lease is None else [(digest, one.lease)]
            totals += [UsageTotal(digest, resource, *total) for resource, total in one.totals.items()]
        await self._writer.apply_api_keys(api_keys)
        await self._writer.apply_licenses(licenses)
        await self._writer.apply_leases(leases)
        await self._writer.apply_usage(totals)


def strides(buckets: Iterable[int]) -> Iterator[tuple[int, int]]:
    for start, end in runs(buckets):
        for first in range(start, end, STRIDE):
            yield first, min(first + STRIDE, end)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _BATCH):
        yield names[start : start + _BATCH]
