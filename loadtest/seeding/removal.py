"""Removal of seeded customers, with everything of theirs: licenses, and what load tests bought and used.

Documents in Redis become tombstones and are never deleted, so that a late writer cannot bring one back. The tombstones
are written while the rows are locked, before their deletion commits. A run that breaks off in between leaves rows that
Redis denies; run it again.
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from graphlib import TopologicalSorter
from typing import Any, Final
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # ships no types
from redis.asyncio import Redis

from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from core.settings import migration_settings, validator_settings
from loadtest.seeding import projecting
from loadtest.seeding.people import PATTERN

USERS_A_STEP: Final = 20

# Every table that says whose its rows are, with those it points at. One that is partitioned counts once. A constraint
# that is checked at the end of the transaction says nothing about the order.
_OWNED: Final = """
    SELECT child.relname AS table, array_remove(array_agg(parent.relname), NULL) AS points_at
    FROM pg_class child
    JOIN pg_attribute ON attrelid = child.oid AND attname = 'user_id'
    LEFT JOIN pg_constraint ON conrelid = child.oid AND contype = 'f' AND NOT condeferrable
    LEFT JOIN pg_class parent ON parent.oid = confrelid AND parent.oid <> child.oid
    WHERE child.relnamespace = 'public'::regnamespace AND child.relkind IN ('r', 'p') AND NOT child.relispartition
    GROUP BY child.relname
"""
_LICENSES: Final = """
    SELECT id, license_key_hash, version, (SELECT epoch FROM projection_epoch) AS epoch
    FROM licenses WHERE user_id = ANY ($1::uuid[]) FOR UPDATE
"""
_INTENTS: Final = """
    DELETE FROM payment_intents USING payments
    WHERE payment_intents.payment_id = payments.id AND payments.user_id = ANY ($1::uuid[])
"""
_STEPS: Final = """
    DELETE FROM dunning_steps USING invoices
    WHERE dunning_steps.invoice_id = invoices.id AND invoices.user_id = ANY ($1::uuid[])
"""


async def remove(environment: dict[str, str], tell: Callable[[int, int], None]) -> int:
    """Says how many licenses went. `tell` is called with the number of finished customers, and of all."""
    settings = validator_settings(environment)
    connection = await asyncpg.connect(migration_settings(environment).owner_database_url)
    try:
        tables = await _children_first(connection)
        found = await connection.fetch("SELECT id FROM users WHERE email LIKE $1", PATTERN)
        users = [row["id"] for row in found]
        removed = 0
        async with aclosing(Redis.from_url(settings.redis_url)) as redis:
            writer = Writer(HotStoreClient(redis))
            for start in range(0, len(users), USERS_A_STEP):
                some = users[start : start + USERS_A_STEP]
                removed += await _remove(connection, writer, tables, some)
                tell(start + len(some), len(users))
    finally:
        await connection.close()
    return removed


async def _remove(connection: Any, writer: Writer, tables: Sequence[str], users: Sequence[UUID]) -> int:
    async with connection.transaction():
        licenses = await connection.fetch(_LICENSES, users)
        await projecting.apply(writer, [(row["license_key_hash"], _tombstone(row)) for row in licenses])
        for statement in (_INTENTS, _STEPS):
            await connection.execute(statement, users)
        for table in tables:
            await connection.execute(f"DELETE FROM {table} WHERE user_id = ANY ($1::uuid[])", users)  # noqa: S608  names come from the catalogue
        await connection.execute("DELETE FROM users WHERE id = ANY ($1::uuid[])", users)
    return len(licenses)


def _tombstone(row: Any) -> LicenseRecord:
    return LicenseRecord(
        epoch=row["epoch"],
        version=row["version"] + 1,
        license_id=row["id"],
        status=Status.CANCELLED,
        limits={},
        tombstone=True,
    )


async def _children_first(connection: Any) -> list[str]:
    """Tables in an order in which no row is deleted before those that point at it."""
    points_at = {row["table"]: set(row["points_at"]) for row in await connection.fetch(_OWNED)}
    known = {table: parents & points_at.keys() for table, parents in points_at.items()}
    return list(reversed(list(TopologicalSorter(known).static_order())))
