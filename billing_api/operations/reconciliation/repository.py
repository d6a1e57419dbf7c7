"""Every SQL statement about runs and differences; workers/reconciliation/run.py compares."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, delete, insert, select, text, update
from sqlalchemy.sql import func

from core.counted import counted
from core.errors import NotFound
from core.ids import new_id
from db.clock import NOW, STATEMENT_NOW
from db.models.reconciliation import (
    DifferenceOutcome,
    ReconciliationDifference,
    ReconciliationRun,
    RecordFault,
    RunState,
    Subject,
)
from db.paging import Order
from db.unit_of_work import PrivilegedTransaction, SystemTransaction

_FOUND: Final = ReconciliationDifference
NEWEST_FIRST: Final = Order(ReconciliationRun.started_at, ReconciliationRun.id)
AS_FOUND: Final = Order(
    _FOUND.created_at, _FOUND.subject, _FOUND.fault, _FOUND.name, _FOUND.id, descending=False
)  # differences of one look have one instant
_BROKEN_OFF: Final = "it was broken off: its process ended, or lost its database"

# One row for a range of buckets. The window numbers the events and computes the total after each of them. The array
# compares by its first member, so the greatest one carries the last event's total. OFFSET 0 keeps the planner from
# making a join of it, which would read all events of all licenses for each range.
_LEDGER: Final = text(
    """
    WITH mine AS (
        SELECT id FROM licenses
        WHERE license_key_hash >= :first AND (CAST(:before AS bytea) IS NULL OR license_key_hash < :before)),
    steps AS (
        SELECT license_id, resource, seq, used_after, action = 'corrected' AND used_after <> 0 AS half_corrected,
            row_number() OVER chain AS place,
            CASE action WHEN 'created' THEN lag(used_after, 1, 0::bigint) OVER chain + count
                        WHEN 'deleted' THEN lag(used_after, 1, 0::bigint) OVER chain - count
                        WHEN 'corrected' THEN lag(used_after, 1, 0::bigint) OVER chain + count
                        ELSE count END AS due
        FROM mine CROSS JOIN LATERAL (SELECT * FROM usage_events WHERE license_id = mine.id OFFSET 0) AS event
        WINDOW chain AS (PARTITION BY license_id, resource ORDER BY seq, idempotency_key)),
    chains AS (
        SELECT license_id, resource, count(*) AS events, (max(ARRAY[seq, used_after]))[2] AS used,
            min(place) FILTER (WHERE place IS DISTINCT FROM seq OR used_after <> due OR half_corrected) AS broken_at
        FROM steps GROUP BY license_id, resource),
    totals AS (
        SELECT license_id, resource, events, used
        FROM mine CROSS JOIN LATERAL (SELECT * FROM license_usage WHERE license_id = mine.id OFFSET 0) AS total),
    compared AS (
        SELECT license_id, resource, totals.events AS said_events, totals.used AS said_used,
            coalesce(chains.events, 0) AS events, coalesce(chains.used, 0) AS used, broken_at
        FROM chains FULL JOIN totals USING (license_id, resource))
    SELECT coalesce(sum(events), 0)::bigint AS events, count(*) AS totals,
        coalesce(jsonb_agg(to_jsonb(compared)) FILTER (WHERE broken_at IS NOT NULL OR said_events IS NULL
            OR said_events <> events OR said_used <> used), '[]') AS wrong
    FROM compared
    """
)
_STUCK: Final = text(
    """
    SELECT id, job, attempts, last_error, extract(epoch FROM np_statement_now() - created_at)::float8 AS age
    FROM outbox WHERE lane = 'projection' AND done_at IS NULL
        AND created_at < np_statement_now() - make_interval(secs => :seconds)
    ORDER BY created_at LIMIT :most
    """
)


class FoundDifference(NamedTuple):
    """A difference before it is a row. `outcome`: "found", or "evidence" where nothing will be repaired."""

    subject: Subject
    fault: RecordFault
    name: str
    license_id: UUID | None = None
    expected: str | None = None
    found: str | None = None
    outcome: DifferenceOutcome = "found"


class LastRun(NamedTuple):
    """The last run that reached its end; `age` and `seconds` in seconds."""

    age: float
    seconds: float
    unrepaired: int
    undecided: int


class Ledger(NamedTuple):
    """The result of adding up a range's events again."""

    events: int
    totals: int
    wrong: Sequence[FoundDifference]


async def begin_run(tx: SystemTransaction, cause: str) -> UUID:
    """Only one runs at a time, so a row that still says "running" was broken off."""
    ended = {"state": "failed", "finished_at": NOW, "error": _BROKEN_OFF}
    await tx.session.execute(update(ReconciliationRun).where(ReconciliationRun.state == "running").values(**ended))
    run_id = new_id()
    await tx.session.execute(insert(ReconciliationRun).values(id=run_id, cause=cause, state="running"))
    return run_id


async def end_run(
    tx: SystemTransaction, run_id: UUID, state: RunState, counts: Mapping[str, int], error: str | None = None
) -> None:
    values = {"state": state, "finished_at": NOW, "error": error, **counts}
    await tx.session.execute(update(ReconciliationRun).where(ReconciliationRun.id == run_id).values(**values))


async def record(tx: SystemTransaction, run_id: UUID, differences: Iterable[FoundDifference]) -> list[UUID]:
    """Their ids, in the order they were given."""
    rows = [(new_id(), difference) for difference in differences]
    if rows:
        values = [{"id": row_id, "run_id": run_id, **difference._asdict()} for row_id, difference in rows]
        await tx.session.execute(insert(ReconciliationDifference), values)
    return [row_id for row_id, _ in rows]


async def note_outcome(tx: SystemTransaction, ids: Collection[UUID], outcome: DifferenceOutcome) -> None:
    mine = ReconciliationDifference.id.in_(ids)
    await tx.session.execute(update(ReconciliationDifference).where(mine).values(outcome=outcome))


async def seconds_since_last(tx: SystemTransaction) -> float | None:
    """Since the last run began; None where there was none yet."""
    age = func.extract("epoch", STATEMENT_NOW - func.max(ReconciliationRun.started_at))
    seconds = await tx.session.scalar(select(age))
    return None if seconds is None else float(seconds)


async def last_finished(tx: SystemTransaction) -> LastRun | None:
    """The last run that reached its end; a failed one does not count."""
    run = ReconciliationRun
    seconds = partial(func.extract, "epoch")
    statement = (
        select(
            seconds(STATEMENT_NOW - run.finished_at),
            seconds(run.finished_at - run.started_at),
            run.differences - run.repaired,
            run.undecided,
        )
        .where(run.state.in_(("agreed", "repaired", "differing")))
        .order_by(run.started_at.desc())
        .limit(1)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else LastRun(float(row[0]), float(row[1]), row[2], row[3])


async def forget_agreed(tx: SystemTransaction, older_than: timedelta) -> None:
    """Removes old runs that found nothing; those that did are evidence and stay."""
    old = ReconciliationRun.started_at < NOW - older_than
    await tx.session.execute(delete(ReconciliationRun).where(ReconciliationRun.state == "agreed", old))


async def ledger(tx: SystemTransaction, first: int, before: int) -> Ledger:
    """Adds up again all events of licenses in the buckets from `first` up to but not including `before`."""
    bounds = {"first": bytes([first]), "before": bytes([before]) if before < 256 else None}
    row = (await tx.session.execute(_LEDGER, bounds)).one()
    return Ledger(row.events, row.totals, [_wrong_events(one) for one in row.wrong])


async def stuck_jobs(tx: SystemTransaction, seconds: float, most: int) -> list[FoundDifference]:
    """Changes that have waited for so long to be projected."""
    rows = await tx.session.execute(_STUCK, {"seconds": seconds, "most": most})
    return [
        FoundDifference(
            subject="job",
            fault="stuck",
            name=str(row.id),
            expected=f"{row.job.get('type')} within seconds",
            found=f"waits for {row.age:.0f} s, {counted(row.attempts, 'attempt')}, last error: {row.last_error}",
            outcome="evidence",
        )
        for row in rows
    ]


def runs() -> Select[ReconciliationRun]:
    return select(ReconciliationRun)


async def one(tx: PrivilegedTransaction, run_id: UUID) -> ReconciliationRun:
    run = await tx.session.get(ReconciliationRun, run_id)
    if run is None:
        raise NotFound("there is no such run; runs that found nothing are kept for a week")
    return run


def differences_of(run_id: UUID) -> Select[ReconciliationDifference]:
    return select(ReconciliationDifference).where(ReconciliationDifference.run_id == run_id)


def _wrong_events(wrong: dict[str, Any]) -> FoundDifference:
    at = "" if wrong["broken_at"] is None else f", and number {wrong['broken_at']} does not follow from the one before"
    return FoundDifference(
        subject="events",
        fault="wrong",
        name=f"{wrong['license_id']} {wrong['resource']}",
        license_id=UUID(wrong["license_id"]),
        expected=f"a total of {wrong['used']} from {counted(wrong['events'], 'event')}{at}",
        found=f"a total of {wrong['said_used']} from {counted(wrong['said_events'], 'event')}",
        outcome="evidence",
    )
