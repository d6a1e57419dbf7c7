"""Jobs over HTTP, for staff."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.jobs.schemas import JobView
from billing_api.operations.jobs.service import JobAdministration
from billing_api.web.parameters import instant
from core.jobs import JobKind
from db.models.messaging import JobState
from db.paging import Page, Paging


class AdminJobController(Controller):
    path = "/admin/jobs"
    tags = ("admin",)

    @get("/", permission=Permission.OPERATIONS_VIEW)
    async def list_jobs(
        self,
        principal: NamedDependency[Principal],
        job_administration: NamedDependency[JobAdministration],
        paging: NamedDependency[Paging],
        kind: Annotated[JobKind | None, QueryParameter(description="Only jobs of this kind: `type` in `job`.")] = None,
        job_state: Annotated[
            JobState | None, QueryParameter(name="state", description="Only jobs in this state.")
        ] = None,
        created_after: Annotated[
            str | None, QueryParameter(format="date-time", description="Written at this instant or later.")
        ] = None,
        created_before: Annotated[
            str | None, QueryParameter(format="date-time", description="Written before this instant.")
        ] = None,
    ) -> Page[JobView]:
        """List the jobs of the outbox.

        The newest first: waiting, done and dead ones.
        """
        return await job_administration.page(
            principal,
            paging,
            kind=kind,
            state=job_state,
            created_after=instant(created_after, "created_after"),
            created_before=instant(created_before, "created_before"),
        )

    @post("/{job_id:int}/retry", permission=Permission.OPERATIONS_CHANGE, status_code=200)
    async def retry_job(
        self,
        principal: NamedDependency[Principal],
        job_administration: NamedDependency[JobAdministration],
        job_id: FromPath[int],
    ) -> JobView:
        """Try a job again now.

        For a job that was given up, or that pauses before its next try. It is due at once. A job that is done is not
        tried again (409).
        """
        return await job_administration.retry(principal, job_id)
