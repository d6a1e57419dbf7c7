"""Periodic tasks, run by cron times. Each may be dropped or doubled: it looks at what there is to do."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

from arq.cron import CronJob, cron
from sqlalchemy import text

from billing_api.identity.login_throttle import repository as throttle_repository
from billing_api.identity.login_throttle.rules import FORGOTTEN
from billing_api.licensing.activation.repository import delete_expired_tokens
from billing_api.licensing.licenses import lapsing
from billing_api.licensing.licenses import repository as license_repository
from billing_api.licensing.usage import corrections
from billing_api.privacy import aftermath
from core.clock import utc_now
from core.telemetry import logger
from db import outbox
from db.idempotency import forget_answers
from db.unit_of_work import Database, SystemTransaction

KEEP_DONE_DAYS: Final = 7
KEEP_TOKENS: Final = timedelta(days=30)
"""After their end: for so long a panel that repeats its activation gets the same answer."""
_PURGE_BATCH: Final = 5000
_QUIET_FOR: Final = timedelta(minutes=10)
_CREATE_PARTITIONS: Final = text("SELECT np_create_payment_partitions((np_now() AT TIME ZONE 'UTC')::date, 4)")


async def create_payment_partitions(database: Database) -> int:
    """The present month's partition of payments and the three after it; says how many were missing."""
    async with database.as_system() as tx:
        created = int(await tx.session.scalar(_CREATE_PARTITIONS) or 0)
    if created:
        logger().info("payments.partitions_created", count=created)
    return created


async def purge_done_jobs(database: Database, *, days: int = KEEP_DONE_DAYS) -> int:
    """Removes jobs that were done longer ago, a batch at a time; dead ones stay until somebody decides."""
    return await _until_done(database, lambda tx: outbox.purge_done(tx.session, days=days, most=_PURGE_BATCH))


async def forget_overages(database: Database) -> int:
    """Removes candidates that pass no limit any more, so that they are not looked at again; says how many."""
    async with database.as_system() as tx:
        return await license_repository.delete_stale_candidates(tx, _QUIET_FOR)


async def correct_totals_below_zero(database: Database) -> int:
    """Brings to 0 what was below zero for longer than a report may be overtaken; says how many totals."""
    corrected = await corrections.correct_old(database, utc_now)
    if corrected:
        logger().warning("usage.totals_corrected", count=corrected)
    return corrected


async def forget_activation_tokens(database: Database) -> int:
    """Removes tokens that ended long ago, used or not."""
    async with database.as_system() as tx:
        return await delete_expired_tokens(tx, utc_now() - KEEP_TOKENS)


async def purge_guess_counts(database: Database) -> int:
    """Removes counts of guesses that have expired, a batch at a time."""
    return await _until_done(
        database, lambda tx: throttle_repository.purge(tx, utc_now() - FORGOTTEN, most=_PURGE_BATCH)
    )


async def forget_idempotent_answers(database: Database) -> int:
    """Removes Idempotency-Keys older than a week with their answers, a batch at a time."""
    return await _until_done(database, lambda tx: forget_answers(tx, _PURGE_BATCH))


async def forget_the_deleted(database: Database) -> int:
    """Removes what is left of accounts that were deleted more than a day ago; says how many rows."""
    return await aftermath.forget_leftovers(database, utc_now)


async def record_expired_licenses(database: Database) -> int:
    """Licenses that are over and that no subscription renews; says how many."""
    recorded = 0
    while True:
        batch = await lapsing.record_expired(database, utc_now)
        recorded += batch
        if batch < lapsing.AT_A_TIME:
            return recorded


async def _until_done(database: Database, batch: Callable[[SystemTransaction], Awaitable[int]]) -> int:
    """One transaction a batch, so that nothing is locked for long; says how many rows in all."""
    purged = 0
    while True:
        async with database.as_system() as tx:
            removed = await batch(tx)
        purged += removed
        if removed < _PURGE_BATCH:
            return purged


BY_DATE: Final[tuple[Callable[[Database], Awaitable[int]], ...]] = (
    create_payment_partitions,
    purge_done_jobs,
    forget_activation_tokens,
    forget_the_deleted,
    forget_idempotent_answers,
    purge_guess_counts,
)
"""What depends on the date, and can wait for a week of a time that is moved."""


def crons(database: Database) -> list[CronJob]:
    """Hours are UTC. Partitions reach months ahead, so a day on which this did not run does no harm.

    The tasks take turns: those that fall due together need one connection all the same.
    """
    turn = asyncio.Lock()
    return [
        _cron(create_payment_partitions, database, turn, hour={3}, minute={17}, run_at_startup=True),
        _cron(purge_done_jobs, database, turn, minute={41}),
        _cron(forget_overages, database, turn, minute={23}),
        _cron(record_expired_licenses, database, turn, second={15}),
        _cron(correct_totals_below_zero, database, turn, second={5, 35}),
        _cron(forget_activation_tokens, database, turn, hour={4}, minute={7}),
        _cron(forget_the_deleted, database, turn, hour={4}, minute={37}),
        _cron(forget_idempotent_answers, database, turn, hour={4}, minute={52}),
        _cron(purge_guess_counts, database, turn, minute={11, 31, 51}),
    ]


def _cron(task: Callable[[Database], Awaitable[int]], database: Database, turn: asyncio.Lock, **when: Any) -> CronJob:
    async def run(ctx: dict[Any, Any], *_args: Any, **_kwargs: Any) -> None:  # noqa: ARG001  arq's calling convention
        async with turn:
            await task(database)

    return cron(run, name=task.__name__, **when)
