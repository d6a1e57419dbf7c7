"""Expected records: what Postgres says of named records, locked or unlocked. One class for each kind of record."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, Select, Text, Uuid, any_, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.hotstore import codec, keys
from core.hotstore.comparison import (
    API_KEYS,
    LICENSES,
    NewTotal,
    RecordKind,
)
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LeaseRecord, LicenseRecord
from core.licensing.state import Status
from db.license_records import LICENSE_ROWS, license_record
from db.models.licensing import ApiKey, LeaseRow, License
from db.models.reconciliation import Subject
from db.models.usage import LicenseUsage
from workers.projection import records

SelectT = TypeVar("SelectT", bound=Select[Any])

_IDS: Final = any_(bindparam("ids", type_=ARRAY(Uuid())))
_NAMES: Final = any_(bindparam("names", type_=ARRAY(Text())))
_LICENSES: Final = LICENSE_ROWS.where(License.id == _IDS)
_USAGE: Final = records.USAGE.where(LicenseUsage.license_id == _IDS)
_LEASES: Final = records.LEASES.where(LeaseRow.license_id == _IDS)
_API_KEYS: Final = records.API_KEYS.add_columns(ApiKey.license_id).where(ApiKey.key_id == _NAMES)
_NO_UUID: Final = UUID(int=0)
_HIGHEST: Final = b"\xff" * 40
_NAMES_BETWEEN: Final = text("SELECT license_key_hash FROM licenses WHERE license_key_hash BETWEEN :first AND :last")
_API_KEYS_IN: Final = text(
    "SELECT key_id FROM api_keys WHERE np_api_key_bucket(key_id) >= :first AND np_api_key_bucket(key_id) < :before"
)

# A name is the beginning of a hash. The first hash from there on is taken, if it begins so: LIKE could use no index.
_IDS_OF: Final = text(
    f"""
    SELECT found.id FROM unnest(CAST(:names AS text[])) AS asked (name) CROSS JOIN LATERAL (
        SELECT id, license_key_hash FROM licenses WHERE license_key_hash >= decode(asked.name, 'hex')
        ORDER BY license_key_hash LIMIT 1) AS found
    WHERE encode(substring(license_key_hash FROM 1 FOR {keys.HASH_BYTES}), 'hex') = asked.name
    """  # noqa: S608  put together from a constant
)

# Rows that a relay has taken are still seen: their deletion commits after they were applied.
_PENDING: Final = text(
    """
    WITH waiting AS (SELECT job FROM outbox WHERE lane = 'projection' AND done_at IS NULL)
    SELECT job ->> 'license_id' AS license, job ->> 'api_key_id' AS api_key, left(job ->> 'retired_hash', :h) AS retired
    FROM waiting
    WHERE job ->> 'license_id' = ANY (:ids) OR job ->> 'api_key_id' = ANY (:ids)
        OR left(job ->> 'retired_hash', :h) = ANY (:names)
    UNION ALL
    SELECT total ->> 0, NULL, NULL
    FROM waiting,
        jsonb_array_elements(CASE jsonb_typeof(job -> 'totals') WHEN 'array' THEN job -> 'totals' END) AS total
    WHERE total ->> 0 = ANY (:ids)
    """
).bindparams(bindparam("ids", type_=ARRAY(Text())), bindparam("names", type_=ARRAY(Text())))


class Expected(NamedTuple):
    """What the hot store should hold under one name, as its codec would decode it."""

    record: LicenseRecord | ApiKeyRecord
    packed: bytes
    lease: LeaseRecord | None
    """The lease of this very version of a license; one of an earlier version has no more use, and is left out."""
    totals: Mapping[Resource, NewTotal]
    id: UUID
    license_id: UUID | None

    @property
    def stamp(self) -> str:
        return f"{self.record.epoch}:{self.record.version}"


class Truth(Protocol):
    kind: ClassVar[RecordKind]
    subject: ClassVar[Subject]

    async def names(self, session: AsyncSession, first: int, before: int) -> list[str]:
        """All names in the buckets from `first` up to but not including `before`."""

    async def read(self, session: AsyncSession, names: Sequence[str], *, lock: bool = False) -> dict[str, Expected]:
        """With `lock`, rows that others have locked are left out, totals among them."""

    async def pending(
        self, session: AsyncSession, names: Collection[str], known: Mapping[str, Expected]
    ) -> Collection[str]:
        """The names with a change that is still to be projected."""

    def decode(self, packed: bytes) -> LicenseRecord | ApiKeyRecord:
        """ValueError or a MsgspecError where it is no record."""

    def nothing(self, name: str) -> bytes:
        """The document for a name that Postgres does not know. It is older than every row, so a row that comes wins."""


class LicenseTruth:
    kind: ClassVar = LICENSES
    subject: ClassVar[Subject] = "license"

    async def names(self, session: AsyncSession, first: int, before: int) -> list[str]:
        bounds = {"first": bytes([first]), "last": bytes([before - 1]) + _HIGHEST}
        found = await session.execute(_NAMES_BETWEEN, bounds)
        return [digest[: keys.HASH_BYTES].hex() for digest in found.scalars() if len(digest) >= keys.HASH_BYTES]

    async def read(self, session: AsyncSession, names: Sequence[str], *, lock: bool = False) -> dict[str, Expected]:
        ids = {"ids": list((await session.execute(_IDS_OF, {"names": list(names)})).scalars())}
        rows = (await session.execute(_locked(_LICENSES, License) if lock else _LICENSES, ids)).all()
        usage = (await session.execute(_locked(_USAGE, LicenseUsage) if lock else _USAGE, ids)).all()
        totals: dict[bytes, dict[Resource, NewTotal]] = {}
        for total in records.usage_totals(usage):
            mine = totals.setdefault(total.license_hash, {})
            mine[total.resource] = NewTotal(total.used, total.epoch, total.version)
        # A signer locks the license first, so a lease cannot change while its license is locked.
        leases = dict(records.lease_record(row) for row in await session.execute(_LEASES, ids))
        found = {}
        for row, (digest, record) in records.fit(rows, license_record):
            packed = codec.encode_license(record)
            lease = leases.get(digest)
            if lease is not None and lease.version != record.version:
                lease = None
            read = codec.decode_license(packed)
            found[keys.short_hash(digest)] = Expected(read, packed, lease, totals.get(digest, {}), row.id, row.id)
        return found

    async def pending(
        self, session: AsyncSession, names: Collection[str], known: Mapping[str, Expected]
    ) -> Collection[str]:
        ids = {str(expected.id): name for name, expected in known.items()}
        waiting = await _pending(session, ids, names)
        return {ids[one] for one in waiting if one in ids} | {one for one in waiting if one in names}

    def decode(self, packed: bytes) -> LicenseRecord:
        return codec.decode_license(packed)

    def nothing(self, name: str) -> bytes:  # noqa: ARG002  a license's document does not tell its name
        tombstone = LicenseRecord(
            epoch=0, version=0, limits={}, license_id=_NO_UUID, status=Status.CANCELLED, tombstone=True
        )
        return codec.encode_license(tombstone)


class ApiKeyTruth:
    kind: ClassVar = API_KEYS
    subject: ClassVar[Subject] = "api_key"

    async def names(self, session: AsyncSession, first: int, before: int) -> list[str]:
        return list((await session.execute(_API_KEYS_IN, {"first": first, "before": before})).scalars())

    async def read(self, session: AsyncSession, names: Sequence[str], *, lock: bool = False) -> dict[str, Expected]:
        statement = _locked(_API_KEYS, ApiKey) if lock else _API_KEYS
        rows = (await session.execute(statement, {"names": list(names)})).all()
        found = {}
        for row, record in records.fit(rows, records.api_key_record):
            packed = codec.encode_api_key(record)
            found[record.key_id] = Expected(codec.decode_api_key(packed), packed, None, {}, row.id, row.license_id)
        return found

    async def pending(
        self, session: AsyncSession, names: Collection[str], known: Mapping[str, Expected]
    ) -> Collection[str]:
        """A key names its license by the hash of the license's key, so a change of the license counts as well."""
        ids = {str(expected.id) for expected in known.values()}
        licenses = {str(expected.license_id) for expected in known.values()}
        waiting = await _pending(session, ids | licenses, ())
        moving = {name for name, of in known.items() if not waiting.isdisjoint((str(of.id), str(of.license_id)))}
        return moving.intersection(names)

    def decode(self, packed: bytes) -> ApiKeyRecord:
        return codec.decode_api_key(packed)

    def nothing(self, name: str) -> bytes:
        refused = ApiKeyRecord(
            epoch=0,
            version=0,
            key_id=name,
            active=False,
            license_hash=None,
            permissions=frozenset(),
            current_secret=b"",
        )
        return codec.encode_api_key(refused)


async def _pending(session: AsyncSession, ids: Collection[str], names: Collection[str]) -> set[str]:
    """Ids and names in waiting rows of the outbox."""
    values = {"ids": list(ids), "names": list(names), "h": 2 * keys.HASH_BYTES}
    return {told for row in await session.execute(_PENDING, values) for told in row if told is not None}


def _locked(statement: SelectT, table: type[Any]) -> SelectT:
    return statement.with_for_update(read=True, of=table, skip_locked=True)
