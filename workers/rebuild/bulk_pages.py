"""Bulk load: reads licenses from Postgres page by page, and packs them for the hot store.

Pages follow the ids. A license's id is made when it is issued, and so is its row's place in the table; its lease and
totals lie in the same order in theirs. So a million of them are read nearly from the beginning of each table to its
end. In the order of the hashes, which would finish bucket after bucket, the rows lie scattered. That took five times
PostgreSQL's time with all pages in memory, and would need a seek for each row without.

Rows come from the driver as they are, and go into bytes without records, keys and commands in between. The fields that
all licenses of a plan share are packed once. The result is byte for byte what the relay makes of the same rows
(workers/projection/records.py); a test holds that.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

import msgspec

from core.hotstore import codec, keys
from core.hotstore.bulk_load import LicenseBatch, LoadedTotal
from core.licensing.plan import LIMITS, RESOURCES, Resource
from core.licensing.record import LeaseRecord, LicenseRecord
from core.telemetry import logger
from db.driver import Driver
from db.license_records import flags
from db.unit_of_work import Database

_AT_A_TIME: Final = 500
"""Rows packed before the event loop runs something else: 5 ms."""

_PLANS: Final = 4096
_RESOURCES: Final = frozenset(get_args(Resource))
_LIMITS: Final = ", ".join(LIMITS)

# date_part, because extract() makes a numeric first. Leases get a lower bound as well: the planner merges both tables
# in the order of their ids, and without one it would read leases from their start for every page.
_LICENSES: Final = """
    SELECT id, license_key_hash, (SELECT epoch FROM projection_epoch) AS epoch, licenses.version,
        status::text, date_part('epoch', activation_date), date_part('epoch', expiry_date),
        date_part('epoch', grace_until), fingerprint_policy = 'required', fingerprint,
        leases.version, date_part('epoch', not_after), token, date_part('epoch', signed_at),
        features::text, {limits}
    FROM licenses LEFT JOIN leases ON license_id = id AND license_id > $1
    WHERE id > $1 {wanted} ORDER BY id LIMIT {page}
"""
_TOTALS: Final = """
    SELECT license_id, resource, used, version FROM license_usage
    WHERE license_id = ANY ($1::uuid[])
"""
_IN_BUCKETS: Final = "AND get_byte(license_key_hash, 0) = ANY (ARRAY[{buckets}])"


class LicensePage(NamedTuple):
    batch: LicenseBatch
    last: UUID
    """The last license's id."""


class LicensePages:
    def __init__(self, database: Database, buckets: Collection[int], page: int) -> None:
        """Licenses of these buckets, so many a page."""
        self._database = database
        wanted = ""
        if len(buckets) < keys.BUCKETS:
            wanted = _IN_BUCKETS.format(buckets=", ".join(map(str, sorted(buckets))))
        self._licenses = _LICENSES.format(limits=_LIMITS, wanted=wanted, page=page)

    async def read(self, after: UUID) -> LicensePage | None:
        """The page after the license `after`; None: there are no more."""
        async with self._database.as_system() as tx:
            driver = await tx.driver()
            rows = await driver.fetch(self._licenses, after)
            if not rows:
                return None
            totals = await _read_totals(driver, [row[0] for row in rows])
        batch = LicenseBatch()
        for start in range(0, len(rows), _AT_A_TIME):
            _pack(batch, rows[start : start + _AT_A_TIME], totals)
            await asyncio.sleep(0)
        return LicensePage(batch, rows[-1][0])


async def _read_totals(driver: Driver, ids: Sequence[UUID]) -> dict[UUID, list[LoadedTotal]]:
    totals: dict[UUID, list[LoadedTotal]] = defaultdict(list)
    for license_id, resource, used, version in await driver.fetch(_TOTALS, ids):
        if resource in _RESOURCES:  # a resource of a newer release is left to that release
            totals[license_id].append(LoadedTotal(resource, used, version))
    return totals


def _pack(batch: LicenseBatch, rows: Sequence[Any], totals: dict[UUID, list[LoadedTotal]]) -> None:
    for row in rows:
        try:
            license_id, digest, epoch = row[0], row[1], row[2]
            keys.short_hash(digest)
            batch.add(digest, _document(row), _lease(row), epoch, totals.get(license_id, ()))
        except (ValueError, TypeError, OverflowError) as failure:
            logger().error("projection.unfit_row", row_id=str(row[0]), error=str(failure))


def _document(row: Any) -> bytes:
    limits, features = _common(row[14:])
    return codec.encode_packed(
        LicenseRecord(
            epoch=row[2],
            version=row[3],
            limits=limits,
            license_id=row[0],
            status=row[4],
            valid_from=row[5],
            valid_until=row[6],
            grace_until=row[7],
            features=features,
            fingerprint_required=row[8],
            fingerprint=row[9],
        )
    )


def _lease(row: Any) -> bytes:
    """Empty where there is none."""
    version = row[10]
    if version is None:
        return b""
    return codec.encode_lease(
        LeaseRecord(epoch=row[2], version=version, not_after=row[11], token=row[12], signed_at=row[13])
    )


@lru_cache(maxsize=_PLANS)
def _common(columns: tuple[str, *tuple[int | None, ...]]) -> codec.Common:
    """Features as the text of their JSON, then the limits in the order of RESOURCES."""
    features, *limits = columns
    granted = flags(msgspec.json.decode(features))
    return codec.pack_common(dict(zip(RESOURCES, limits, strict=True)), granted)
