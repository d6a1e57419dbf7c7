"""Plan routes: the plans on sale."""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from billing_api.access.permissions import Permission
from billing_api.commerce.plans.prices import Currency
from billing_api.commerce.plans.schemas import PlanView
from billing_api.web.conditional_get import NOT_MODIFIED
from billing_api.web.kept_answer import KeptAnswer
from db.paging import Page

PlanAnswers = Mapping[Currency | None, KeptAnswer]
"""One answer for each currency; under None with each plan's own."""


class PlanController(Controller):
    path = "/plans"
    tags = ("plans",)

    @get("/", permission=Permission.PUBLIC, responses=NOT_MODIFIED)
    async def list_plans(
        self,
        request: Request[Any, Any, Any],
        plans: NamedDependency[PlanAnswers],
        currency: Annotated[
            Currency | None,
            QueryParameter(description="Only plans that are sold in it, with their prices there."),
        ] = None,
    ) -> Response[Page[PlanView]]:
        """List the plans on sale.

        The cheapest first, with prices before taxes and discounts. A change is shown within a second. Keep the answer
        and send its `ETag` as `If-None-Match`: an unchanged list is answered with 304.
        """
        return await plans[currency].answer(request)
