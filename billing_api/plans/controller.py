"""Plans over HTTP."""

from litestar import Controller, get
from litestar.di import NamedDependency

from billing_api.access import Permission
from billing_api.paging import Page
from billing_api.plans.schemas import PlanView
from billing_api.plans.service import PlanService


class PlanController(Controller):
    path = "/plans"
    tags = ("plans",)

    @get("/", permission=Permission.PUBLIC, summary="What is on offer, cheapest first")
    async def list_plans(self, plans: NamedDependency[PlanService]) -> Page[PlanView]:
        items = [PlanView.of(plan) for plan in await plans.on_offer()]
        return Page(items, total=len(items), limit=100, offset=0)
