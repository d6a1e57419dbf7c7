"""Bulk insert: makes one batch of licenses, which have verdicts at its end.

The ordinary way is a trigger that writes an outbox row for each license, and a relay that takes the rows. It costs
0.13 ms of CPU a license, and all other changes wait behind the batch. So a batch is its own relay:

1. One transaction writes the licenses with COPY, the trigger off, and one outbox row for each of them all the same, in
   one statement, due in some minutes. Switching the trigger off locks the table against other writers until the commit,
   a fraction of a second away: no other change can slip through without its row.
2. After the commit the records go to Redis, with the same functions and the same versions as the relay's.
3. The outbox rows are deleted.

A batch that breaks off in between leaves the rows, and the relay takes them when they are due. A key is handed out
after the third step only, so it cannot be used before its license is projected.

NextPanel is asked for no account: the licenses say that this has failed, which suspending and resuming respects.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.clock import utc_now
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.ids import new_id
from core.jobs import ProjectLicense, lane
from core.licensing import key as license_key
from core.licensing.plan import LIMITS
from core.licensing.record import LicenseRecord
from core.licensing.state import Status
from core.settings import Secrets, migration_settings, validator_settings
from loadtest.seeding import projecting
from loadtest.seeding.catalogue import Plan

KEY_CONTEXT: Final = "licenses.license_key:{}"
"""As billing_api/licensing/licenses/issuing.py seals a key; a test holds the two together."""

GUARD_SECONDS: Final = 300
_TERM: Final = timedelta(days=365)
_NO_ACCOUNT: Final = "seeded for load tests: NextPanel was not asked for an account"
_FIRST_VERSION: Final = 1
_COLUMNS: Final = (
    *("id", "user_id", "license_key", "license_key_hash", "key_hint", "plan_id"),
    *("license_type", "status", "features"),
    *("fingerprint_policy", "provisioning", "provisioning_error", "activation_date", "expiry_date", "auto_renew"),
    "version",
    *LIMITS,
)
_GUARD: Final = """
    INSERT INTO outbox (lane, job, due_at)
    SELECT $1, unnest($2::jsonb[]), np_now() + make_interval(secs => $3) RETURNING id
"""


class Order(NamedTuple):
    """What another process needs to make a batch. `environment`: see core.settings."""

    environment: Mapping[str, str]
    plans: Sequence[tuple[Plan, int]]
    user_ids: Sequence[UUID]
    size: int


class Made(NamedTuple):
    keys: list[str]
    projected: bool
    """False where Redis did not take them; the relay will."""


class _License(NamedTuple):
    """`key` is the plain text."""

    id: UUID
    user_id: UUID
    plan: Plan
    key: str
    sealed: bytes
    hash: bytes


async def make(order: Order) -> Made:
    secrets = validator_settings(order.environment).secrets
    redis_url = validator_settings(order.environment).redis_url
    connection = await asyncpg.connect(migration_settings(order.environment).owner_database_url)
    try:
        licenses = _licenses(order, secrets)
        start = utc_now()
        epoch, guards = await _write(connection, licenses, start)
        records = [(license_.hash, _record(license_, epoch, start)) for license_ in licenses]
        projected = await _project(redis_url, records)
        if projected:
            await connection.execute("DELETE FROM outbox WHERE id = ANY ($1::bigint[])", guards)
    finally:
        await connection.close()
    return Made([license_.key for license_ in licenses], projected)


def _licenses(order: Order, secrets: Secrets) -> list[_License]:
    plans = random.choices([plan for plan, _ in order.plans], weights=[share for _, share in order.plans], k=order.size)
    made = []
    for number, plan in enumerate(plans):
        license_id, key = new_id(), license_key.generate(secrets.license_checksum_key)
        sealed = secrets.sealer.seal(key.encode(), context=KEY_CONTEXT.format(license_id))
        user_id = order.user_ids[number % len(order.user_ids)]
        made.append(_License(license_id, user_id, plan, key, sealed, secrets.index.digest("license_key", key)))
    return made


async def _write(connection: Any, licenses: Sequence[_License], start: datetime) -> tuple[int, list[int]]:
    """The epoch they were written in, and the ids of their outbox rows."""
    jobs = [ProjectLicense(license_.id) for license_ in licenses]
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await connection.execute("ALTER TABLE licenses DISABLE TRIGGER project")
        await connection.copy_to_table("licenses", source=_copy_text(licenses, start), columns=_COLUMNS)
        await connection.execute("ALTER TABLE licenses ENABLE TRIGGER project")
        packed = [msgspec.json.encode(job).decode() for job in jobs]
        guards = await connection.fetch(_GUARD, lane(jobs[0]), packed, GUARD_SECONDS)
        epoch = await connection.fetchval("SELECT epoch FROM projection_epoch")
    return epoch, [guard["id"] for guard in guards]


def _copy_text(licenses: Sequence[_License], start: datetime) -> BytesIO:
    """Rows in COPY's text format, in the order of _COLUMNS."""
    tails = {license_.plan.id: _tail(license_.plan, start) for license_ in licenses}
    lines = [
        f"{license_.id}\t{license_.user_id}\t\\\\x{license_.sealed.hex()}\t\\\\x{license_.hash.hex()}"
        f"\t{license_key.hint(license_.key)}"
        f"{tails[license_.plan.id]}"
        for license_ in licenses
    ]
    return BytesIO("".join(lines).encode())


def _tail(plan: Plan, start: datetime) -> str:
    """The columns that all licenses of a plan share."""
    values = (
        plan.id,
        plan.license_type,
        Status.ACTIVE.value,
        plan.features,
        "none",
        "failed",
        _NO_ACCOUNT,
        start.isoformat(),
        (start + _TERM).isoformat(),
        "false",
        _FIRST_VERSION,
        *plan.limits,
    )
    return "".join(f"\t{_escaped(value)}" for value in values) + "\n"


def _escaped(value: object) -> str:
    if value is None:
        return r"\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _record(license_: _License, epoch: int, start: datetime) -> LicenseRecord:
    """What the relay would make of the row."""
    return LicenseRecord(
        epoch=epoch,
        version=_FIRST_VERSION,
        license_id=license_.id,
        status=Status.ACTIVE,
        valid_from=start.timestamp(),
        valid_until=(start + _TERM).timestamp(),
        features=license_.plan.flags,
        limits=license_.plan.limit_of,
    )


async def _project(redis_url: str, records: Sequence[tuple[bytes, LicenseRecord]]) -> bool:
    async with aclosing(Redis.from_url(redis_url)) as redis:
        try:
            await projecting.apply(Writer(HotStoreClient(redis)), records)
        except RedisError:
            return False
    return True
