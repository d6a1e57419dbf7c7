"""Every SQL statement about usage: each does a whole batch of reports, and is put to asyncpg itself."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from core.licensing.counting import UsageAction
from core.licensing.plan import Limits, Resource
from db.unit_of_work import Driver

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
    """A row of usage_events, its fields in the order of _WRITE."""

    id: UUID
    total: int
    """Which of the totals it belongs to, counted from 1: whose it is and of what stands there once for all."""
    action: UsageAction
    number: int
    idempotency_key: str
    body_hash: bytes
    reservation_id: str | None
    used_after: int
    seq: int
    is_overage: bool
    occurred_at: datetime | None
    """None: now."""


_LICENSES: Final = """
    SELECT license_key_hash, id, user_id, max_accounts, max_domains, max_databases, max_emails, max_storage_gb
    FROM licenses WHERE license_key_hash = ANY ($1::bytea[])
    """

_RECORDED: Final = """
    SELECT license_id, idempotency_key, resource, body_hash, used_after, is_overage FROM usage_events
    WHERE (license_id, idempotency_key) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    """

# In one order by everybody, so that no two batches wait for each other. What ORDER BY sorts is locked as it comes out.
_LOCK_TOTALS: Final = """
    SELECT license_id, resource, used, events FROM license_usage
    WHERE (license_id, resource) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    ORDER BY license_id, resource FOR UPDATE
    """

_BEGIN_TOTALS: Final = """
    INSERT INTO license_usage (license_id, resource, user_id, used, version)
    SELECT *, 0, 1 FROM unnest($1::uuid[], $2::text[], $3::uuid[])
        AS begun (license_id, resource, user_id)
    ORDER BY license_id, resource
    ON CONFLICT DO NOTHING
    """

# One statement, so that a batch waits for the server once: its parts see the same instant and end together.
_WRITE: Final = """
    WITH total AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[])
            WITH ORDINALITY AS total (license_id, resource, user_id, used, events, place)),
    event AS (
        SELECT license_id, resource, user_id, event.*
        FROM unnest($7::uuid[], $8::bigint[], $9::text[], $10::bigint[], $11::text[], $12::bytea[], $13::text[],
            $14::bigint[], $15::bigint[], $16::boolean[], $17::timestamptz[])
            AS event (id, place, action, count, idempotency_key, body_hash, reservation_id, used_after, seq,
                is_overage, occurred_at)
        JOIN total USING (place)),
    written AS (
        INSERT INTO usage_events (id, license_id, user_id, resource, action, count, idempotency_key, body_hash,
            reservation_id, used_after, seq, is_overage, occurred_at)
        SELECT id, license_id, user_id, resource, action::usage_action, count, idempotency_key, body_hash,
            reservation_id, used_after, seq, is_overage, coalesce(occurred_at, $6)
        FROM event ORDER BY license_id, idempotency_key
        ON CONFLICT (license_id, idempotency_key) DO NOTHING
        RETURNING 1),
    settled AS (
        INSERT INTO hold_settlements (license_id, resource, reservation_id)
        SELECT license_id, resource, reservation_id FROM event WHERE reservation_id IS NOT NULL),
    totalled AS (
        UPDATE license_usage SET used = total.used, events = total.events, updated_at = now()
        FROM total
        WHERE (license_usage.license_id, license_usage.resource) = (total.license_id, total.resource))
    SELECT count(*) FROM written
    """


async def licenses(driver: Driver, hashes: Iterable[bytes]) -> dict[bytes, KnownLicense]:
    rows = await driver.fetch(_LICENSES, list(hashes))
    return {row[0]: KnownLicense(row[1], row[2], _limits(row)) for row in rows}


async def recorded(driver: Driver, wanted: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Recorded]:
    """`wanted`: licences and idempotency keys."""
    rows = await driver.fetch(_RECORDED, *_columns(wanted))
    return {(row[0], row[1]): Recorded(row[2], row[3], row[4], row[5]) for row in rows}


async def lock_totals(driver: Driver, wanted: dict[Total, UUID]) -> dict[Total, Standing]:
    """The totals in the order of `wanted` (whose each is), made at 0 if need be, held until the transaction ends."""
    totals = await _lock(driver, wanted)
    missing = {total: user_id for total, user_id in wanted.items() if total not in totals}
    if missing:
        await driver.execute(_BEGIN_TOTALS, *_columns(missing), list(missing.values()))
        totals |= await _lock(driver, missing)
    return {total: totals[total] for total in wanted}


async def write(
    driver: Driver,
    events: Sequence[NewEvent],
    totals: dict[Total, Standing],
    whose: dict[Total, UUID],
    now: datetime,
) -> int:
    """The events, the totals after them, and that their holds have ended. `totals` and `whose` are in the same order.

    Says how many events were new; fewer than were given where another process has just recorded one of these reports.
    Then the totals are wrong, and the transaction must not commit.
    """
    columns = (*_columns(totals), list(whose.values()), *_columns(totals.values()))
    rows = await driver.fetch(_WRITE, *columns, now, *_columns(events))
    return int(rows[0][0])


async def _lock(driver: Driver, wanted: Iterable[Total]) -> dict[Total, Standing]:
    rows = await driver.fetch(_LOCK_TOTALS, *_columns(wanted))
    return {(row[0], row[1]): Standing(row[2], row[3]) for row in rows}


def _columns(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows as arrays for unnest()."""
    return zip(*rows, strict=True)


def _limits(row: Any) -> Limits:
    return Limits(
        accounts=row["max_accounts"],
        domains=row["max_domains"],
        databases=row["max_databases"],
        emails=row["max_emails"],
        storage_gb=row["max_storage_gb"],
    )
