"""Jobs over HTTP, for staff."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.jobs.schemas import JobView
from billing_api.operations.jobs.service import JobAdministration
from db.models.messaging import JobState
from db.paging import Page, Paging


class AdminJobController(Controller):
    path = "/admin/jobs"
    tags = ("admin",)

    @get("/", permission=Permission.OPERATIONS_VIEW, summary="The outbox: waiting, done and dead jobs")
    async def list_jobs(
        self,
        principal: NamedDependency[Principal],
        job_administration: NamedDependency[JobAdministration],
        paging: NamedDependency[Paging],
        job_state: Annotated[JobState | None, QueryParameter(name="state")] = None,
    ) -> Page[JobView]:
        return await job_administration.page(principal, paging, state=job_state)

    @post("/{job_id:int}/retry", permission=Permission.OPERATIONS_CHANGE, status_code=200, summary="Try it again now")
    async def retry_job(
        self,
        principal: NamedDependency[Principal],
        job_administration: NamedDependency[JobAdministration],
        job_id: FromPath[int],
    ) -> JobView:
        return await job_administration.retry(principal, job_id)
