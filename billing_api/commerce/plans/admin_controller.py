"""Plan routes for staff: create, edit and retire what is sold."""

from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.plans.admin_schemas import AdminPlanView, CreatePlan, EditPlan, PlanList
from billing_api.commerce.plans.administration import PlanAdministration
from billing_api.web.parameters import reply
from billing_api.web.problems import documented
from core.errors import IdempotencyMismatch, Unprocessable
from db.idempotency import Once


class AdminPlanController(Controller):
    path = "/admin/plans"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def list_all_plans(
        self, principal: NamedDependency[Principal], plan_administration: NamedDependency[PlanAdministration]
    ) -> PlanList:
        """List all plans.

        Retired ones, too, with the number of their subscribers.
        """
        return await plan_administration.everything(principal)

    @get("/{plan_id:uuid}", permission=Permission.BILLING_VIEW)
    async def get_plan(
        self,
        principal: NamedDependency[Principal],
        plan_administration: NamedDependency[PlanAdministration],
        plan_id: FromPath[UUID],
    ) -> AdminPlanView:
        """Read a plan.

        As it is sold now.
        """
        return await plan_administration.one(principal, plan_id)

    @post(
        "/",
        permission=Permission.BILLING_CHANGE,
        responses={422: documented(Unprocessable, IdempotencyMismatch)},
    )
    async def create_plan(
        self,
        principal: NamedDependency[Principal],
        plan_administration: NamedDependency[PlanAdministration],
        once: NamedDependency[Once],
        data: JSONBody[CreatePlan],
    ) -> Response[AdminPlanView]:
        """Create a plan.

        It is published at Stripe and sold at once. `is_published` is false where Stripe did not answer: it is not sold
        until `make push-plans` has published it.
        """
        return reply(await plan_administration.create(principal, data, once), status_code=201)

    @patch("/{plan_id:uuid}", permission=Permission.BILLING_CHANGE, responses={422: documented(Unprocessable)})
    async def edit_plan(
        self,
        principal: NamedDependency[Principal],
        plan_administration: NamedDependency[PlanAdministration],
        plan_id: FromPath[UUID],
        data: JSONBody[EditPlan],
    ) -> AdminPlanView:
        """Edit a plan.

        For purchases and changes from now on: licenses that run keep their limits, and subscribers their price. A new
        price is published at Stripe, and the old one is archived there.
        """
        return await plan_administration.edit(principal, plan_id, data)

    @post("/{plan_id:uuid}/retire", permission=Permission.BILLING_CHANGE, status_code=200)
    async def retire_plan(
        self,
        principal: NamedDependency[Principal],
        plan_administration: NamedDependency[PlanAdministration],
        plan_id: FromPath[UUID],
    ) -> AdminPlanView:
        """Retire a plan.

        It is sold no more, and its prices are archived at Stripe. Its subscribers keep it, and go on to pay.
        """
        return await plan_administration.retire(principal, plan_id)
