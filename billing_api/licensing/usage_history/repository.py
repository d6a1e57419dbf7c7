"""Usage history repository: one SQL statement, by the index (license_id, resource, occurred_at).

It is for any number of resources at once, so that a page with all of them costs no more round trips than one.

The database returns only buckets with events; the service fills the gaps. A join with generate_series would do the
same, but it would send empty rows, and the planner could not see how little it has to read.

`used` is the total after the bucket's last report, ordered by the instant of the event. A late report has the total of
its arrival.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Interval, bindparam, text

from core.licensing.plan import Resource
from db.models.licensing import License
from db.reads import OwnStatement
from db.unit_of_work import StaffTransaction

HISTORY: Final = text(
    """
    SELECT wanted.resource, NULL::timestamptz AS start, 0::bigint AS created, 0::bigint AS deleted,
        0::bigint AS corrected, used_after AS used, false AS overage, is_overage AS ends_over
    FROM unnest(CAST(:resources AS text[])) AS wanted (resource) CROSS JOIN LATERAL (
        SELECT used_after, is_overage FROM usage_events
        WHERE license_id = :license_id AND usage_events.resource = wanted.resource AND occurred_at < :since
        ORDER BY occurred_at DESC, seq DESC LIMIT 1
    ) AS last
    UNION ALL
    SELECT resource, date_bin(:step, occurred_at, :since),
        coalesce(sum(count) FILTER (WHERE action = 'created'), 0)::bigint,
        coalesce(sum(count) FILTER (WHERE action = 'deleted'), 0)::bigint,
        coalesce(sum(count) FILTER (WHERE action = 'corrected'), 0)::bigint,
        (array_agg(used_after ORDER BY occurred_at DESC, seq DESC))[1],
        bool_or(is_overage),
        (array_agg(is_overage ORDER BY occurred_at DESC, seq DESC))[1]
    FROM usage_events
    WHERE license_id = :license_id AND resource = ANY (CAST(:resources AS text[]))
        AND occurred_at >= :since AND occurred_at < :until
    GROUP BY 1, 2
    """
).bindparams(
    bindparam("license_id", type_=License.id.type),
    bindparam("since", type_=License.created_at.type),
    bindparam("until", type_=License.created_at.type),
    bindparam("step", type_=Interval()),
)
"""The buckets; and for each resource with reports before them a row without a start: the state that they begin with."""
OWN_HISTORY: Final = OwnStatement(HISTORY)


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


class States(NamedTuple):
    """`before`: for each resource with reports, the total when the window begins, and whether it exceeded the limit.

    `buckets`: by resource and start.
    """

    before: dict[str, tuple[int, bool]]
    buckets: dict[tuple[str, datetime], Bucket]


def names_of(license_id: UUID, resources: Sequence[Resource], window: Window) -> dict[str, Any]:
    """The bind parameters of `HISTORY`."""
    return {"license_id": license_id, "resources": list(resources), **window._asdict()}


def states(rows: Iterable[Any]) -> States:
    """From rows of `HISTORY`."""
    found = States({}, {})
    for row in rows:
        if row.start is None:
            found.before[row.resource] = (row.used, row.ends_over)
        else:
            found.buckets[row.resource, row.start] = Bucket(*(getattr(row, name) for name in Bucket._fields))
    return found


async def for_staff(tx: StaffTransaction, names: Mapping[str, Any]) -> States:
    return states(await tx.session.execute(HISTORY, names))
