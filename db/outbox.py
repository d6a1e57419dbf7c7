"""Transactional outbox: every statement that claims a job or writes down its outcome.

A row waits while it is neither done nor dead, and is due once `due_at` has passed. Two lanes, two ways to claim:

projection   A claim deletes the rows, in the transaction that applies them to Redis. If applying fails, the rollback
             brings them back; a second process skips them meanwhile (SKIP LOCKED). Nothing of them is kept.
partner      A claim lasts for some seconds: `attempts` rises and `due_at` moves to the end of the claim. It commits by
             itself, so that nobody holds a row lock while a partner is asked. The claim of a process that dies runs
             out. The number of the attempt is a fencing token: an outcome that comes after another worker's claim
             shows an old number, and writes nothing. A claim clears `last_error`: a row that waits with an error is
             not claimed, it pauses.

Rows are taken in the order they fell due, which is how the index has them. There is no "last id" cursor: ids commit out
of order. `np_statement_now()` and not `np_now()`: a transaction that began before a row was committed would otherwise
see the row and hold it not yet due.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, DateTime, Float, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

_WAITING: Final = "done_at IS NULL AND dead_at IS NULL"
_DUE: Final = f"{_WAITING} AND due_at <= np_statement_now()"
_SECONDS: Final = "make_interval(secs => :seconds)"

# The array is computed once; IN (SELECT … LIMIT) may be planned as a join that runs the SELECT again and takes more.
_TAKE_PROJECTION: Final = text(
    f"""
    DELETE FROM outbox WHERE id = ANY (ARRAY(
        SELECT id FROM outbox WHERE lane = 'projection' AND {_DUE} ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING id, job, attempts, created_at
    """  # noqa: S608  put together from the constants above
).columns(id=BigInteger, job=JSONB, attempts=BigInteger, created_at=DateTime(timezone=True))

_TAKE_ONE: Final = text(
    f"""
    DELETE FROM outbox WHERE id = (
        SELECT id FROM outbox WHERE id = :id AND lane = 'projection' AND {_DUE} FOR UPDATE SKIP LOCKED)
    RETURNING id, job, attempts, created_at
    """  # noqa: S608  put together from the constants above
).columns(id=BigInteger, job=JSONB, attempts=BigInteger, created_at=DateTime(timezone=True))

# The new rows keep the due time of the old one, so that they do not count as projected meanwhile (_SYNC_POINT).
_DIVIDE_TOTALS: Final = text(
    f"""
    WITH divided AS (
        DELETE FROM outbox WHERE id = (
            SELECT id FROM outbox WHERE id = :id AND lane = 'projection' AND {_DUE} FOR UPDATE SKIP LOCKED)
            AND CASE jsonb_typeof(job -> 'totals') WHEN 'array' THEN jsonb_array_length(job -> 'totals') > 1 END
        RETURNING job, created_at, due_at)
    INSERT INTO outbox (lane, job, created_at, due_at)
    SELECT 'projection', jsonb_set(job, '{{totals}}', jsonb_build_array(total)), created_at, due_at
    FROM divided, jsonb_array_elements(job -> 'totals') AS total
    """  # noqa: S608  put together from the constants above
)

# Without SKIP LOCKED: what another process has claimed and not committed yet is still to be done. A row falls due when
# its transaction begins, so whatever is left was committed after the oldest row fell due.
_SYNC_POINT: Final = text(
    f"""
    SELECT epoch, extract(epoch FROM least(
        np_statement_now(), (SELECT min(due_at) FROM outbox WHERE lane = 'projection' AND {_DUE})))::float8
    FROM projection_epoch
    """  # noqa: S608  put together from the constants above
)

# So many of each kind: behind a thousand jobs that wait for one partner, those of the others must still be seen.
_DUE_PARTNER_JOBS: Final = text(
    f"""
    SELECT id, overdue FROM (
        SELECT id, due_at, extract(epoch FROM np_statement_now() - due_at)::float8 AS overdue,
            row_number() OVER (PARTITION BY job ->> 'type' ORDER BY due_at) AS place
        FROM outbox WHERE lane = 'partner' AND {_DUE}) AS due
    WHERE place <= :most ORDER BY due_at
    """  # noqa: S608  put together from the constants above
).columns(id=BigInteger, overdue=Float)

_KIND: Final = text(
    f"""
    SELECT job ->> 'type' FROM outbox WHERE id = :id AND lane = 'partner' AND {_DUE}
    """  # noqa: S608  put together from the constant above
)

_LOCK: Final = text(
    f"""
    SELECT id, job, attempts, created_at FROM outbox
    WHERE id = :id AND lane = 'partner' AND {_DUE} FOR UPDATE SKIP LOCKED
    """  # noqa: S608  put together from the constants above
).columns(id=BigInteger, job=JSONB, attempts=BigInteger, created_at=DateTime(timezone=True))

_CLAIM: Final = text(
    f"""
    UPDATE outbox SET attempts = attempts + 1, due_at = np_statement_now() + {_SECONDS}, last_error = NULL
    WHERE id = :id RETURNING attempts
    """  # noqa: S608  put together from the constants above
)

_FINISH: Final = text("UPDATE outbox SET done_at = np_statement_now(), last_error = NULL WHERE id = :id")

_RETRY: Final = text(
    f"""
    UPDATE outbox SET last_error = :error, due_at = np_statement_now() + {_SECONDS}
    WHERE id = :id AND attempts = :attempt AND {_WAITING} RETURNING true
    """  # noqa: S608  put together from the constants above
)

_BURY: Final = text(
    f"""
    UPDATE outbox SET last_error = :error, dead_at = np_statement_now()
    WHERE id = :id AND attempts = :attempt AND {_WAITING} RETURNING true
    """  # noqa: S608  put together from the constants above
)

_SET_ASIDE: Final = text(
    f"""
    UPDATE outbox SET last_error = :error, attempts = attempts + :counted,
                      due_at = np_statement_now() + {_SECONDS}
    WHERE id = :id AND {_WAITING}
    """  # noqa: S608  put together from the constants above
)

_PURGE: Final = text(
    """
    DELETE FROM outbox WHERE id = ANY (ARRAY(
        SELECT id FROM outbox WHERE done_at < np_now() - make_interval(days => :days)
        LIMIT :most FOR UPDATE SKIP LOCKED))
    """
)

_LANES: Final = text(
    f"""
    SELECT lanes.lane,
        count(outbox.id) FILTER (WHERE {_WAITING}) AS waiting,
        count(outbox.id) FILTER (WHERE dead_at IS NOT NULL) AS dead,
        count(outbox.id) FILTER (WHERE {_WAITING} AND last_error IS NOT NULL) AS failing,
        coalesce(extract(epoch FROM np_statement_now() - min(due_at) FILTER (WHERE {_DUE})), 0)::float8 AS lag
    FROM (VALUES ('projection'), ('partner')) AS lanes (lane)
    LEFT JOIN outbox ON outbox.lane = lanes.lane AND done_at IS NULL
    GROUP BY lanes.lane
    """  # noqa: S608  put together from the constants above
).columns(lane=Text, waiting=BigInteger, dead=BigInteger, failing=BigInteger, lag=Float)

_DUE_BY_LANE: Final = text(
    f"""
    SELECT lane, count(*) FILTER (WHERE due_at <= np_statement_now()) AS due,
        min(due_at) FILTER (WHERE due_at > np_statement_now()) AS later
    FROM outbox WHERE {_WAITING} GROUP BY lane
    """  # noqa: S608  put together from the constant above
).columns(lane=Text, due=BigInteger, later=DateTime(timezone=True))


class Claim(NamedTuple):
    """A row that this process has claimed. `attempt` counts from 1 in the partner lane; 0 before the first one."""

    id: int
    job: dict[str, Any]
    attempt: int
    created_at: datetime


class DueJob(NamedTuple):
    id: int
    overdue: float
    """Seconds since it fell due."""


class SyncPoint(NamedTuple):
    """Nothing that was committed before `through` (unix seconds, the database's clock) is left to project."""

    epoch: int
    through: float


class LaneState(NamedTuple):
    lane: str
    waiting: int
    dead: int
    failing: int
    """Of those that wait: how many failed the last time."""
    lag: float
    """Seconds for which the oldest due row has been due."""


async def take_projection(session: AsyncSession, most: int) -> list[Claim]:
    """Due rows of the projection lane; gone with this transaction's commit, back with its rollback."""
    return [Claim(*row) for row in await session.execute(_TAKE_PROJECTION, {"most": most})]


async def take_one_projection(session: AsyncSession, row_id: int) -> Claim | None:
    """The same for one row; None where it is gone, locked or not due."""
    row = (await session.execute(_TAKE_ONE, {"id": row_id})).one_or_none()
    return None if row is None else Claim(*row)


async def divide_totals(session: AsyncSession, row_id: int) -> bool:
    """Replaces a due row that names several usage totals by a row for each; whether it was one."""
    divided: Any = await session.execute(_DIVIDE_TOTALS, {"id": row_id})
    return bool(divided.rowcount)


async def sync_point(session: AsyncSession) -> SyncPoint:
    """The present instant or, where rows are due, when the oldest fell due, claimed by another process or not.

    So it advances under traffic that never leaves the lane empty. What this transaction has deleted counts as
    projected: call this after it has been applied. Rows that were set aside after a failure do not hold it back; each
    is an alert of its own.
    """
    return SyncPoint(*(await session.execute(_SYNC_POINT)).one())


async def due_partner_jobs(session: AsyncSession, most: int) -> list[DueJob]:
    """The longest due first, at most so many of each kind."""
    return [DueJob(*row) for row in await session.execute(_DUE_PARTNER_JOBS, {"most": most})]


async def kind_of_due_job(session: AsyncSession, row_id: int) -> str | None:
    """None where there is nothing to do for it now; "" for a job that names no kind."""
    row = (await session.execute(_KIND, {"id": row_id})).one_or_none()
    return None if row is None else row[0] or ""


async def lock_partner_job(session: AsyncSession, row_id: int) -> Claim | None:
    """The row, locked until the transaction ends; None where it is done, dead, claimed, locked or not due yet."""
    row = (await session.execute(_LOCK, {"id": row_id})).one_or_none()
    return None if row is None else Claim(*row)


async def claim_job(session: AsyncSession, claim: Claim, seconds: float) -> Claim:
    """Claims a locked row for so many seconds; the claim comes back with the number of this attempt."""
    attempt = await session.scalar(_CLAIM, {"id": claim.id, "seconds": seconds})
    return claim._replace(attempt=attempt)


async def finish(session: AsyncSession, claim: Claim) -> None:
    """Marks the job done, even where the claim has run out meanwhile."""
    await session.execute(_FINISH, {"id": claim.id})


async def retry(session: AsyncSession, claim: Claim, error: str, seconds: float) -> bool:
    """Due again in so many seconds. False where another worker has claimed the job: the outcome is its own then."""
    values = {"id": claim.id, "attempt": claim.attempt, "error": error, "seconds": seconds}
    return await session.scalar(_RETRY, values) is not None


async def bury(session: AsyncSession, claim: Claim, error: str) -> bool:
    """Marks the job dead: kept, shown to an admin, not tried again by itself. False as in `retry`."""
    return await session.scalar(_BURY, {"id": claim.id, "attempt": claim.attempt, "error": error}) is not None


async def set_aside(session: AsyncSession, row_id: int, error: str, seconds: float, *, counted: bool) -> None:
    """Puts a row off, so that the rows behind it pass. `counted`: whether this was an attempt."""
    values = {"id": row_id, "error": error, "seconds": seconds, "counted": int(counted)}
    await session.execute(_SET_ASIDE, values)


async def purge_done(session: AsyncSession, *, days: int, most: int) -> int:
    """Removes rows done longer ago than so many days; says how many."""
    return int((await session.execute(_PURGE, {"days": days, "most": most})).rowcount)  # type: ignore[attr-defined]  # a DELETE has one


class LaneDue(NamedTuple):
    """Rows of a lane that are due; when the next of the others falls due."""

    due: int
    later: datetime | None


async def due_by_lane(session: AsyncSession) -> dict[str, LaneDue]:
    """A lane in which nothing waits is not named."""
    return {lane: LaneDue(due, later) for lane, due, later in await session.execute(_DUE_BY_LANE)}


async def lanes(session: AsyncSession) -> list[LaneState]:
    return [LaneState(*row) for row in await session.execute(_LANES)]
