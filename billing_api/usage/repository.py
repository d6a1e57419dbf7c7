"""Every SQL statement about usage: each does a whole batch of reports."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, bindparam, func, select, text

from core.licensing.counting import UsageAction
from core.licensing.plan import Limits, Resource
from db.models.licensing import License
from db.unit_of_work import SystemTransaction

Total = tuple[UUID, Resource]
"""What a total is of."""


class KnownLicense(NamedTuple):
    id: UUID
    user_id: UUID
    limits: Limits


class Standing(NamedTuple):
    """A total as it stands, and how many events it contains."""

    used: int
    events: int


class Recorded(NamedTuple):
    """What is known of a report that has been recorded: enough to tell it from another, and to answer it again."""

    resource: Resource
    body_hash: bytes
    used_after: int
    is_overage: bool


class NewEvent(NamedTuple):
    """A row of usage_events, its fields in the order of _WRITE_EVENTS."""

    id: UUID
    license_id: UUID
    user_id: UUID
    resource: Resource
    action: UsageAction
    number: int
    idempotency_key: str
    body_hash: bytes
    reservation_id: str | None
    used_after: int
    seq: int
    is_overage: bool
    occurred_at: datetime


_LICENSES: Final = select(
    License.license_key_hash,
    License.id,
    License.user_id,
    License.max_accounts,
    License.max_domains,
    License.max_databases,
    License.max_emails,
    License.max_storage_gb,
).where(License.license_key_hash == func.any(bindparam("hashes", type_=ARRAY(LargeBinary))))

_RECORDED: Final = text(
    """
    SELECT license_id, idempotency_key, resource, body_hash, used_after, is_overage FROM usage_events
    WHERE (license_id, idempotency_key) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:keys AS text[])))
    """
)

# In one order by everybody, so that no two batches wait for each other. What ORDER BY sorts is locked as it comes out.
_LOCK_TOTALS: Final = text(
    """
    SELECT license_id, resource, used, events FROM license_usage
    WHERE (license_id, resource) IN (SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:resources AS text[])))
    ORDER BY license_id, resource FOR UPDATE
    """
)

_BEGIN_TOTALS: Final = text(
    """
    INSERT INTO license_usage (license_id, resource, user_id, used, version)
    SELECT *, 0, 1 FROM unnest(CAST(:ids AS uuid[]), CAST(:resources AS text[]), CAST(:users AS uuid[]))
        AS begun (license_id, resource, user_id)
    ORDER BY license_id, resource
    ON CONFLICT DO NOTHING
    """
)

_WRITE_EVENTS: Final = text(
    """
    INSERT INTO usage_events (id, license_id, user_id, resource, action, count, idempotency_key, body_hash,
        reservation_id, used_after, seq, is_overage, occurred_at)
    SELECT id, license_id, user_id, resource, CAST(action AS usage_action), count, idempotency_key, body_hash,
        reservation_id, used_after, seq, is_overage, occurred_at
    FROM unnest(CAST(:id AS uuid[]), CAST(:license_id AS uuid[]), CAST(:user_id AS uuid[]), CAST(:resource AS text[]),
        CAST(:action AS text[]), CAST(:number AS bigint[]), CAST(:idempotency_key AS text[]),
        CAST(:body_hash AS bytea[]), CAST(:reservation_id AS text[]), CAST(:used_after AS bigint[]),
        CAST(:seq AS bigint[]), CAST(:is_overage AS boolean[]), CAST(:occurred_at AS timestamptz[]))
        AS event (id, license_id, user_id, resource, action, count, idempotency_key, body_hash,
            reservation_id, used_after, seq, is_overage, occurred_at)
    ORDER BY license_id, idempotency_key
    ON CONFLICT (license_id, idempotency_key) DO NOTHING
    """
)

_SETTLE_HOLDS: Final = text(
    """
    INSERT INTO hold_settlements (license_id, resource, reservation_id)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:resources AS text[]), CAST(:reservations AS text[]))
    """
)

_WRITE_TOTALS: Final = text(
    """
    UPDATE license_usage SET used = total.used, events = total.events, updated_at = now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:resources AS text[]), CAST(:used AS bigint[]), CAST(:events AS bigint[]))
        AS total (license_id, resource, used, events)
    WHERE (license_usage.license_id, license_usage.resource) = (total.license_id, total.resource)
    """
)


async def licenses(tx: SystemTransaction, hashes: Iterable[bytes]) -> dict[bytes, KnownLicense]:
    rows = await tx.session.execute(_LICENSES, {"hashes": list(hashes)})
    return {row[0]: KnownLicense(row[1], row[2], _limits(row)) for row in rows}


async def recorded(tx: SystemTransaction, wanted: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Recorded]:
    """`wanted`: licences and idempotency keys."""
    ids, keys = zip(*wanted, strict=True)
    rows = await tx.session.execute(_RECORDED, {"ids": ids, "keys": keys})
    return {(row[0], row[1]): Recorded(*row[2:]) for row in rows}


async def lock_totals(tx: SystemTransaction, wanted: dict[Total, UUID]) -> dict[Total, Standing]:
    """The totals, made at 0 if need be, held until the transaction ends. `wanted`: whose each of them is."""
    totals = await _lock(tx, wanted)
    missing = {total: user_id for total, user_id in wanted.items() if total not in totals}
    if missing:
        ids, resources = zip(*missing, strict=True)
        await tx.session.execute(_BEGIN_TOTALS, {"ids": ids, "resources": resources, "users": list(missing.values())})
        totals |= await _lock(tx, missing)
    return totals


async def write_events(tx: SystemTransaction, events: Sequence[NewEvent]) -> int:
    """How many were written; fewer where another process has just recorded one of these reports."""
    columns = dict(zip(NewEvent._fields, zip(*events, strict=True), strict=True))
    written = await tx.session.execute(_WRITE_EVENTS, columns)
    settled = [event for event in events if event.reservation_id is not None]
    if settled:
        names: dict[str, Any] = {
            "ids": [event.license_id for event in settled],
            "resources": [event.resource for event in settled],
            "reservations": [event.reservation_id for event in settled],
        }
        await tx.session.execute(_SETTLE_HOLDS, names)
    count: int = written.rowcount  # type: ignore[attr-defined]  # of an INSERT it is a CursorResult
    return count


async def write_totals(tx: SystemTransaction, totals: dict[Total, Standing]) -> None:
    ids, resources = zip(*totals, strict=True)
    used, events = zip(*totals.values(), strict=True)
    await tx.session.execute(_WRITE_TOTALS, {"ids": ids, "resources": resources, "used": used, "events": events})


async def _lock(tx: SystemTransaction, wanted: Iterable[Total]) -> dict[Total, Standing]:
    ids, resources = zip(*wanted, strict=True)
    rows = await tx.session.execute(_LOCK_TOTALS, {"ids": ids, "resources": resources})
    return {(row[0], row[1]): Standing(row[2], row[3]) for row in rows}


def _limits(row: Any) -> Limits:
    return Limits(
        accounts=row.max_accounts,
        domains=row.max_domains,
        databases=row.max_databases,
        emails=row.max_emails,
        storage_gb=row.max_storage_gb,
    )
