"""Usage repository: every SQL statement about usage. Each handles a batch of reports, mostly through asyncpg itself."""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # ships no types
from sqlalchemy import text

from core.licensing.counting import EventAction, UsageAction
from core.licensing.plan import LIMITS, Limits, Resource
from db.driver import Driver
from db.unit_of_work import SystemTransaction

Total = tuple[UUID, Resource]
"""The identity of a total: license and resource."""


class KnownLicense(NamedTuple):
    id: UUID
    user_id: UUID
    limits: Limits


class TotalState(NamedTuple):
    """A total, and how many events it contains.

    `below_since`: when it fell below zero, while it is there. `corrected_at`: when it was last corrected to 0; a full
    count (`set`) clears it.
    """

    used: int
    events: int
    below_since: datetime | None = None
    corrected_at: datetime | None = None


class ChangedTotal(NamedTuple):
    """A total before and after a batch, with its fields in the order of _WRITE."""

    license_id: UUID
    resource: Resource
    user_id: UUID
    used_before: int
    events_before: int
    used: int
    events: int
    below_since: datetime | None
    corrected_at: datetime | None


class Written(enum.Enum):
    NOW = enum.auto()
    OVERTAKEN = enum.auto()
    """Nothing was written: another process has changed one of the totals since they were read."""
    BEFORE = enum.auto()
    """Nothing was written: one of the reports has been recorded before."""


class Recorded(NamedTuple):
    """A report that has been recorded: enough to recognize it, and to repeat its answer."""

    resource: Resource
    body_hash: bytes
    used_after: int
    is_overage: bool


NewEvent = tuple[int, UsageAction | EventAction, int, int, int, str, bytes, bool, str | None, datetime | None]
"""A row of usage_events, its fields in the order of _WRITE:

- the place of its total in the batch, from 1 (license, user and resource come from there);
- action, number, the total after it, its sequence number among the total's events;
- idempotency key, hash of the body;
- overage, reservation, the instant of the event if it is not now.
"""
_PLAIN: Final = 5
"""So many first fields are numbers and words. They are sent as one text each: asyncpg checks every element of an array,
and encodes it more slowly than PostgreSQL parses the text.
"""
_RARE: Final = 3
"""So many last fields are mostly empty."""
_RARE_OF_TOTALS: Final = 2
"""The same of a total's."""

_OF_TOTAL: Final = len(TotalState._fields)
"""So many last columns of _READ and of _LOCK_TOTALS are a TotalState."""

_READ: Final = f"""
    SELECT license_key_hash, licenses.id, licenses.user_id,
        {", ".join(LIMITS)}, asked.resource, used, events,
        below_since, corrected_at
    FROM unnest($1::bytea[], $2::text[]) AS asked (license_key_hash, resource)
    JOIN licenses USING (license_key_hash)
    LEFT JOIN license_usage ON (license_usage.license_id, license_usage.resource) = (licenses.id, asked.resource)
    """  # noqa: S608  names of columns, written in our code

_RECORDED: Final = """
    SELECT license_id, idempotency_key, resource, body_hash, used_after, is_overage FROM usage_events
    WHERE (license_id, idempotency_key) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    """

_BEGIN_TOTALS: Final = """
    INSERT INTO license_usage (license_id, resource, user_id, used, version)
    SELECT *, 0, 1 FROM unnest($1::uuid[], $2::text[], $3::uuid[])
        AS begun (license_id, resource, user_id)
    ORDER BY license_id, resource
    ON CONFLICT DO NOTHING
    """

# All processes lock in one order, which prevents deadlocks. Rows are locked in the order of ORDER BY.
_LOCK_TOTALS: Final = """
    SELECT license_id, resource, used, events, below_since, corrected_at FROM license_usage
    WHERE (license_id, resource) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
    ORDER BY license_id, resource FOR UPDATE
    """

# One statement, so that a batch needs one round trip; its parts see the same snapshot and commit together. The totals
# are locked before any write, because every write depends on the number of unchanged totals: if one has changed,
# nothing is written. (PostgreSQL checks a concurrently changed row again, after it is locked.)
_WRITE: Final = """
    WITH total AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::timestamptz[], $9::timestamptz[]) WITH ORDINALITY
            AS total (license_id, resource, user_id, used_before, events_before, used, events,
                below_since, corrected_at, place)),
    unchanged AS (
        SELECT FROM license_usage JOIN total USING (license_id, resource)
        WHERE (license_usage.used, license_usage.events) = (used_before, events_before)
        ORDER BY license_id, resource FOR UPDATE OF license_usage),
    event AS (
        SELECT license_id, resource, user_id, event.*
        FROM unnest($11::text::bigint[], $12::text::usage_action[], $13::text::bigint[], $14::text::bigint[],
            $15::text::bigint[], $16::text[], $17::bytea[], $18::boolean[], $19::text[], $20::timestamptz[])
            AS event (place, action, count, used_after, seq,
                idempotency_key, body_hash, is_overage, reservation_id, occurred_at)
        JOIN total USING (place)
        WHERE (SELECT count(*) FROM unchanged) = cardinality($1)),
    settled AS (
        INSERT INTO hold_settlements (license_id, resource, reservation_id)
        SELECT license_id, resource, reservation_id
        FROM unnest($11::text::bigint[], $19::text[]) AS event (place, reservation_id) JOIN total USING (place)
        WHERE reservation_id IS NOT NULL AND (SELECT count(*) FROM unchanged) = cardinality($1)),
    totaled AS (
        UPDATE license_usage SET used = total.used, events = total.events, updated_at = np_now(),
            below_since = total.below_since, corrected_at = total.corrected_at
        FROM total
        WHERE (license_usage.license_id, license_usage.resource) = (total.license_id, total.resource)
            AND (SELECT count(*) FROM unchanged) = cardinality($1))
    INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,
        used_after, seq, is_overage, reservation_id, occurred_at)
    SELECT license_id, user_id, resource, action, count, idempotency_key, body_hash,
        used_after, seq, coalesce(is_overage, false), reservation_id, coalesce(occurred_at, $10)
    FROM event ORDER BY license_id, idempotency_key
    """
_NOTHING_WRITTEN: Final = "INSERT 0 0"

# Locked rows are about to change, so they are left to the next run. The key is the one of corrections.py.
_CORRECT_OLD: Final = text(
    """
    WITH below AS (
        SELECT license_id, resource, user_id, used, events,
            concat('floor:', license_id, ':', resource, ':',
                to_char(below_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\\:MI\\:SS.US"Z"')) AS idempotency_key
        FROM license_usage WHERE below_since <= :below_until
        ORDER BY license_id, resource LIMIT :most FOR UPDATE SKIP LOCKED),
    event AS (
        INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,
            used_after, seq, is_overage, occurred_at)
        SELECT license_id, user_id, resource, 'corrected', -used, idempotency_key,
            sha256(convert_to(idempotency_key, 'UTF8')), 0, events + 1, false, :now
        FROM below)
    UPDATE license_usage
    SET used = 0, events = below.events + 1, below_since = NULL, corrected_at = :now, updated_at = np_now()
    FROM below WHERE (license_usage.license_id, license_usage.resource) = (below.license_id, below.resource)
    """
)


async def read(
    driver: Driver, asked: Iterable[tuple[bytes, Resource]]
) -> tuple[dict[bytes, KnownLicense], dict[Total, TotalState]]:
    """The licenses by the hashes of their keys, and those of the requested totals that exist."""
    licenses: dict[bytes, KnownLicense] = {}
    totals: dict[Total, TotalState] = {}
    for row in await driver.fetch(_READ, *_columns(asked)):
        if row["license_key_hash"] not in licenses:
            licenses[row["license_key_hash"]] = KnownLicense(row["id"], row["user_id"], Limits.read(row))
        if row["used"] is not None:
            totals[row["id"], row["resource"]] = TotalState(*row[-_OF_TOTAL:])
    return licenses, totals


async def recorded(driver: Driver, wanted: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], Recorded]:
    """Recorded reports among `wanted`, pairs of license id and idempotency key."""
    rows = await driver.fetch(_RECORDED, *_columns(wanted))
    return {(row[0], row[1]): Recorded(row[2], row[3], row[4], row[5]) for row in rows}


async def begin_totals(driver: Driver, whose: Mapping[Total, UUID]) -> None:
    """Inserts the missing totals, at 0."""
    await driver.execute(_BEGIN_TOTALS, *_columns(whose), list(whose.values()))


async def lock_totals(driver: Driver, wanted: Iterable[Total]) -> dict[Total, TotalState]:
    """Locks the totals until the transaction ends."""
    rows = await driver.fetch(_LOCK_TOTALS, *_columns(wanted))
    return {(row[0], row[1]): TotalState(*row[-_OF_TOTAL:]) for row in rows}


async def write(driver: Driver, events: Sequence[NewEvent], totals: Iterable[ChangedTotal], now: datetime) -> Written:
    """Writes the events, the new totals and the ends of their holds: all or nothing."""
    columns = list(_columns(events))
    plain = (f"{{{','.join(map(str, column))}}}" for column in columns[:_PLAIN])
    rare = (column if any(column) else () for column in columns[-_RARE:])  # unnest() fills up with NULL
    of_totals = list(_columns(totals))
    of_totals[-_RARE_OF_TOTALS:] = (column if any(column) else () for column in of_totals[-_RARE_OF_TOTALS:])
    try:
        tag = await driver.execute(_WRITE, *of_totals, now, *plain, *columns[_PLAIN:-_RARE], *rare)
    except asyncpg.UniqueViolationError:
        return Written.BEFORE
    return Written.OVERTAKEN if tag == _NOTHING_WRITTEN else Written.NOW


async def correct_old(tx: SystemTransaction, *, below_until: datetime, now: datetime, most: int) -> int:
    """Corrects totals to 0 that have been below zero since then; returns how many."""
    found = await tx.session.execute(_CORRECT_OLD, {"below_until": below_until, "now": now, "most": most})
    return int(found.rowcount)  # type: ignore[attr-defined]  # an UPDATE has one


def _columns(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows as columns, which become arrays for unnest()."""
    return zip(*rows, strict=True)
