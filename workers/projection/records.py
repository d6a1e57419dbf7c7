"""Projection: rows of Postgres become records of the hot store.

Nothing here knows what changed. A job names a row, the row is read as it is now and applied, and the hot store keeps
the newest by (epoch, version). So a job may be doubled, late or overtaken, and any number of relays and rebuilds may
run at once. The epoch is read in the statement that reads the rows. Licenses: db/license_records.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final, NamedTuple, TypeVar, cast, get_args
from uuid import UUID

from sqlalchemy import ARRAY, Double, Row, Select, Text, Uuid, any_, bindparam, extract, func, select, text, tuple_
from sqlalchemy import cast as cast_sql
from sqlalchemy.ext.asyncio import AsyncSession

from core.hotstore.writer import UsageTotal, Writer
from core.jobs import ProjectApiKey, ProjectionJob, ProjectLicense, ProjectUsage
from core.licensing.plan import RESOURCES, Resource
from core.licensing.record import PERMISSIONS, ApiKeyRecord, LeaseRecord, LicenseRecord
from core.licensing.state import Status
from core.telemetry import logger
from db.license_records import EPOCH, LICENSE_ROWS, license_record, unix
from db.models.licensing import ApiKey, LeaseRow, License
from db.models.usage import LicenseUsage

RowT = TypeVar("RowT", bound=Row[Any])
RecordT = TypeVar("RecordT")

_IDS: Final = any_(bindparam("ids", type_=ARRAY(Uuid())))

USAGE: Final = select(
    EPOCH, License.id, License.license_key_hash, LicenseUsage.resource, LicenseUsage.used, LicenseUsage.version
).join(License, License.id == LicenseUsage.license_id)
API_KEYS: Final = select(
    EPOCH,
    ApiKey.id,
    ApiKey.key_id,
    ApiKey.version,
    ApiKey.is_active,
    ApiKey.permissions,
    ApiKey.secret,
    ApiKey.previous_secret,
    ApiKey.previous_until,
    ApiKey.expires_at,
    ApiKey.networks,
    License.license_key_hash,
).outerjoin(License, License.id == ApiKey.license_id)
LEASES: Final = select(
    EPOCH,
    License.license_key_hash,
    LeaseRow.version,
    cast_sql(extract("epoch", LeaseRow.not_after), Double).label("not_after"),
    LeaseRow.token,
    cast_sql(extract("epoch", LeaseRow.signed_at), Double).label("signed_at"),
).join(License, License.id == LeaseRow.license_id)

_NAMED_LICENSES: Final = LICENSE_ROWS.where(License.id == _IDS)
_NAMED_USAGE: Final = USAGE.where(
    tuple_(LicenseUsage.license_id, LicenseUsage.resource).in_(
        select(
            func.unnest(bindparam("ids", type_=ARRAY(Uuid()))), func.unnest(bindparam("resources", type_=ARRAY(Text())))
        )
    )
)
_NAMED_API_KEYS: Final = API_KEYS.where(ApiKey.id == _IDS)

# Runs before the totals are read, so the totals contain every report whose settlement is taken here.
_TAKE_SETTLEMENTS: Final = text(
    """
    DELETE FROM hold_settlements WHERE (license_id, resource) IN (SELECT unnest(:ids), unnest(:resources))
    RETURNING license_id, resource, reservation_id
    """
).bindparams(bindparam("ids", type_=ARRAY(Uuid())), bindparam("resources", type_=ARRAY(Text())))

# An API key names its license by the hash of the license's key: after a rotation it needs a new record.
_RENEW_API_KEYS: Final = text("UPDATE api_keys SET version = version + 1 WHERE license_id = ANY (:ids)").bindparams(
    bindparam("ids", type_=ARRAY(Uuid()))
)

Settled = Mapping[tuple[UUID, str], tuple[str, ...]]
"""By license and resource: the reservations that have ended with a report."""
_NOTHING_SETTLED: Final[Settled] = {}

_RESOURCES: Final = frozenset(get_args(Resource))
assert frozenset(RESOURCES) == _RESOURCES


class Rows(NamedTuple):
    """Records that are ready to be applied."""

    licenses: Sequence[tuple[bytes, LicenseRecord]] = ()
    totals: Sequence[UsageTotal] = ()
    api_keys: Sequence[ApiKeyRecord] = ()
    leases: Sequence[tuple[bytes, LeaseRecord]] = ()

    async def apply(self, writer: Writer) -> None:
        if self.licenses:
            await writer.apply_licenses(self.licenses)
        if self.totals:
            await writer.apply_usage(self.totals)
        if self.api_keys:
            await writer.apply_api_keys(self.api_keys)
        if self.leases:
            await writer.apply_leases(self.leases)


async def read(session: AsyncSession, jobs: Iterable[ProjectionJob]) -> Rows:
    """Everything the jobs name, each row once, as it is now. A row that is gone is nothing to project."""
    # What the jobs name.
    licenses: set[UUID] = set()
    usage: set[tuple[UUID, str]] = set()
    api_keys: set[UUID] = set()
    retired: dict[UUID, list[bytes]] = {}
    for job in jobs:
        match job:
            case ProjectLicense():
                licenses.add(job.license_id)
                if job.retired_hash is not None:
                    retired.setdefault(job.license_id, []).append(bytes.fromhex(job.retired_hash))
            case ProjectUsage():
                usage.update(job.totals)
            case ProjectApiKey():
                api_keys.add(job.api_key_id)
    # A rotated license key: its API keys and totals are projected again.
    if retired:
        await session.execute(_RENEW_API_KEYS, {"ids": list(retired)})
        usage.update(product(retired, RESOURCES))  # the key of a total contains the hash as well
    # The rows as they are now; settlements before totals.
    settled = await _take_settlements(session, usage)
    found = await _rows(session, _NAMED_LICENSES, licenses)
    current = [license_record(row) for row in found]
    tombstones = _tombstones(found, retired)
    return Rows(
        [*current, *tombstones],
        usage_totals(await _usage_rows(session, usage), settled),
        [api_key_record(row) for row in await _rows(session, _NAMED_API_KEYS, api_keys)],
        # New leases come from workers/projection/lease_signer.py. That a license has none any more is written with the
        # change that ended it.
        [(digest, no_lease(record)) for digest, record in current if record.status is not Status.ACTIVE]
        + [(digest, no_lease(record)) for digest, record in tombstones],
    )


def usage_totals(rows: Iterable[Row[*tuple[Any, ...]]], settled: Settled = _NOTHING_SETTLED) -> list[UsageTotal]:
    """Rows of USAGE, and the holds they end. A resource of a newer release is left to that release."""
    return [
        UsageTotal(digest, cast("Resource", resource), used, epoch, version, settled.get((license_id, resource), ()))
        for epoch, license_id, digest, resource, used, version in rows
        if resource in _RESOURCES
    ]


def api_key_record(row: Row[Any]) -> ApiKeyRecord:
    """A row of API_KEYS; a permission of a newer release grants nothing here."""
    return ApiKeyRecord(
        epoch=row.epoch,
        version=row.version,
        key_id=row.key_id,
        active=row.is_active,
        license_hash=row.license_key_hash,
        permissions=PERMISSIONS.intersection(row.permissions),
        current_secret=row.secret,
        previous_secret=row.previous_secret,
        previous_until=unix(row.previous_until),
        expires_at=unix(row.expires_at),
        networks=tuple(row.networks),
    )


def lease_record(row: Row[int, bytes, int, float, str, float]) -> tuple[bytes, LeaseRecord]:
    """A row of LEASES, and the hash in its key. A rebuild makes a million of them, so it is kept short."""
    epoch, license_hash, version, not_after, token, signed_at = row
    return license_hash, LeaseRecord(
        epoch=epoch, version=version, not_after=not_after, token=token, signed_at=signed_at
    )


def no_lease(record: LicenseRecord) -> LeaseRecord:
    """The record that says: this version of the license has no lease, and never had one."""
    return LeaseRecord(epoch=record.epoch, version=record.version, not_after=0, token="")


def fit(rows: Iterable[RowT], build: Callable[[RowT], RecordT]) -> list[tuple[RowT, RecordT]]:
    """The rows with their records, without broken ones: one broken row must not keep all others out."""
    built = []
    for row in rows:
        try:
            built.append((row, build(row)))
        except (ValueError, TypeError, OverflowError) as failure:
            logger().error("projection.unfit_row", row_id=str(row.id), error=str(failure))
    return built


def _tombstones(rows: Iterable[Row[Any]], retired: Mapping[UUID, list[bytes]]) -> list[tuple[bytes, LicenseRecord]]:
    """Tombstones under the hashes of rotated keys; the present version is newer than any applied there."""
    return [
        (
            digest,
            LicenseRecord(
                epoch=row.epoch, version=row.version, limits={}, license_id=row.id, status=row.status, tombstone=True
            ),
        )
        for row in rows
        for digest in retired.get(row.id, ())
        if digest != row.license_key_hash
    ]


async def _take_settlements(session: AsyncSession, totals: set[tuple[UUID, str]]) -> Settled:
    """Holds whose reports are recorded. They come back if this round fails; ending a hold twice is harmless."""
    settled: dict[tuple[UUID, str], tuple[str, ...]] = {}
    if totals:
        for license_id, resource, reservation_id in await session.execute(_TAKE_SETTLEMENTS, _columns(totals)):
            settled[license_id, resource] = (*settled.get((license_id, resource), ()), reservation_id)
    return settled


async def _usage_rows(session: AsyncSession, totals: set[tuple[UUID, str]]) -> Sequence[Row[Any]]:
    return (await session.execute(_NAMED_USAGE, _columns(totals))).all() if totals else ()


def _columns(totals: set[tuple[UUID, str]]) -> dict[str, list[Any]]:
    ids, resources = zip(*totals, strict=True)
    return {"ids": list(ids), "resources": list(resources)}


async def _rows(session: AsyncSession, statement: Select[Any], ids: set[UUID]) -> Sequence[Row[Any]]:
    return (await session.execute(statement, {"ids": list(ids)})).all() if ids else ()
