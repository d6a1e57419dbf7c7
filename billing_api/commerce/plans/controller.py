"""Plan routes: the plans on sale."""

from litestar import Controller, get
from litestar.di import NamedDependency

from billing_api.access.permissions import Permission
from billing_api.commerce.plans.schemas import PlanView
from billing_api.commerce.plans.service import PlanService
from db.paging import Page


class PlanController(Controller):
    path = "/plans"
    tags = ("plans",)

    @get("/", permission=Permission.PUBLIC)
    async def list_plans(self, plans: NamedDependency[PlanService]) -> Page[PlanView]:
        """List the plans on sale.

        The cheapest first, with prices before taxes and discounts.
        """
        items = [PlanView.of(plan) for plan in await plans.on_offer()]
        return Page(items, total=len(items), limit=100, offset=0)
