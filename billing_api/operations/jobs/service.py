"""Job administration: staff list jobs, and have a dead one tried again."""

from datetime import datetime

from billing_api.access.permissions import Principal
from billing_api.operations.jobs import repository
from billing_api.operations.jobs.schemas import JobView
from core.clock import Clock
from core.errors import Conflict
from core.jobs import JobKind
from db.models.messaging import JobState
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database


class JobAdministration:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(
        self,
        principal: Principal,
        paging: Paging,
        *,
        kind: JobKind | None,
        state: JobState | None,
        created_after: datetime | None,
        created_before: datetime | None,
    ) -> Page[JobView]:
        statement = repository.search(
            kind=kind, state=state, created_after=created_after, created_before=created_before
        )
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(JobView.of(row[0]) for row in found.rows)

    async def retry(self, principal: Principal, job_id: int) -> JobView:
        """Makes a dead job due at once; a worker finds it within a second.

        `attempts` stays: its number is the fencing token of a claim (db/outbox.py). A worker compares it with the
        maximum after an attempt, so a job that died of too many attempts gets one more.
        """
        async with self._database.as_staff(principal.user_id) as tx:
            row = await repository.lock(tx, job_id)
            if row.done_at is not None:
                raise Conflict("this job is done; there is nothing to try again")
            now = self._clock()
            if row.dead_at is None and not row.pauses(now):
                raise Conflict("this job is being performed, or is due anyway")
            row.dead_at, row.due_at = None, now
            await tx.audit("job.retried", "job", str(job_id), job=row.job)
        return JobView.of(row)
