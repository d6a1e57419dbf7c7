"""Usage history routes: for the owner, and for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.usage_history.schemas import Step, UsageHistories, UsageHistory
from billing_api.licensing.usage_history.service import HistoryQuery, UsageHistoryService
from core.licensing.plan import Resource

# Parsed by the service: Litestar would name an invalid value by its Python name, and `from` cannot be one.
Since = Annotated[
    str | None,
    QueryParameter(
        name="from",
        format="date-time",
        description="The first instant. Default: 30 days (by day) or 48 hours (by hour) before `to`.",
    ),
]
AskedResource = Annotated[
    Resource | None, QueryParameter(description="One resource; absent: all of them, each with its points.")
]
Until = Annotated[
    str | None, QueryParameter(name="to", format="date-time", description="The last instant. Default: now.")
]


class UsageHistoryController(Controller):
    path = "/licenses/{license_id:uuid}/usage/history"
    tags = ("licenses",)

    @get("/", permission=Permission.OWN_USAGE_READ)
    async def get_usage_history(
        self,
        principal: NamedDependency[Principal],
        usage_history: NamedDependency[UsageHistoryService],
        license_id: FromPath[UUID],
        resource: AskedResource = None,
        by: FromQuery[Step] = Step.DAY,
        since: Since = None,
        until: Until = None,
    ) -> UsageHistory | UsageHistories:
        """Read the use of my license over time.

        A point for each hour or day in UTC, also where there were no reports. Without `resource` each resource has its
        points. At most 750 points of a resource are answered at once.
        """
        return await usage_history.for_owner(principal, license_id, HistoryQuery(resource, by, since, until))


class AdminUsageHistoryController(Controller):
    path = "/admin/licenses/{license_id:uuid}/usage/history"
    tags = ("admin",)

    @get("/", permission=Permission.LICENSES_VIEW)
    async def get_any_usage_history(
        self,
        principal: NamedDependency[Principal],
        usage_history: NamedDependency[UsageHistoryService],
        license_id: FromPath[UUID],
        resource: AskedResource = None,
        by: FromQuery[Step] = Step.DAY,
        since: Since = None,
        until: Until = None,
    ) -> UsageHistory | UsageHistories:
        """Read the use of any license over time.

        A point for each hour or day in UTC, also where there were no reports. Without `resource` each resource has its
        points. At most 750 points of a resource are answered at once.
        """
        return await usage_history.for_staff(principal, license_id, HistoryQuery(resource, by, since, until))
