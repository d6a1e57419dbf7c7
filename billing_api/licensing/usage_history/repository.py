"""Usage history repository: both SQL statements, by the index (license_id, resource, occurred_at).

Each is for any number of resources at once, so that a page with all of them costs no more round trips than one.

The database returns only buckets with events; the service fills the gaps. A join with generate_series would do the
same, but it would send empty rows, and the planner could not see how little it has to read.

`used` is the total after the bucket's last report, ordered by the instant of the event. A late report has the total of
its arrival.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from core.licensing.plan import Resource
from db.unit_of_work import Transaction

BUCKETS: Final = text(
    """
    SELECT resource, date_bin(:step, occurred_at, :since) AS start,
        coalesce(sum(count) FILTER (WHERE action = 'created'), 0)::bigint AS created,
        coalesce(sum(count) FILTER (WHERE action = 'deleted'), 0)::bigint AS deleted,
        coalesce(sum(count) FILTER (WHERE action = 'corrected'), 0)::bigint AS corrected,
        (array_agg(used_after ORDER BY occurred_at DESC, seq DESC))[1] AS used,
        bool_or(is_overage) AS overage,
        (array_agg(is_overage ORDER BY occurred_at DESC, seq DESC))[1] AS ends_over
    FROM usage_events
    WHERE license_id = :license_id AND resource = ANY (CAST(:resources AS text[]))
        AND occurred_at >= :since AND occurred_at < :until
    GROUP BY 1, 2
    """
)

BEFORE: Final = text(
    """
    SELECT wanted.resource, used_after, is_overage
    FROM unnest(CAST(:resources AS text[])) AS wanted (resource) CROSS JOIN LATERAL (
        SELECT used_after, is_overage FROM usage_events
        WHERE license_id = :license_id AND usage_events.resource = wanted.resource AND occurred_at < :since
        ORDER BY occurred_at DESC, seq DESC LIMIT 1
    ) AS last
    """
)


class Bucket(NamedTuple):
    """`overage`: a report in it exceeded the limit; `ends_over`: its last report did."""

    start: datetime
    created: int
    deleted: int
    corrected: int
    used: int
    overage: bool
    ends_over: bool


class Window(NamedTuple):
    """From `since`, the start of a bucket, to just before `until`."""

    since: datetime
    until: datetime
    step: timedelta


async def buckets(
    tx: Transaction, license_id: UUID, resources: Sequence[Resource], window: Window
) -> dict[tuple[str, datetime], Bucket]:
    """By resource and start."""
    names = {"license_id": license_id, "resources": list(resources), **window._asdict()}
    found = await tx.session.execute(BUCKETS, names)
    return {(resource, bucket[0]): Bucket(*bucket) for resource, *bucket in found}


async def states_before(
    tx: Transaction, license_id: UUID, resources: Sequence[Resource], since: datetime
) -> dict[str, tuple[int, bool]]:
    """For each resource with reports: the total when the window begins, and whether it exceeded the limit."""
    names = {"license_id": license_id, "resources": list(resources), "since": since}
    return {resource: (used, over) for resource, used, over in await tx.session.execute(BEFORE, names)}
