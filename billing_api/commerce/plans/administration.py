"""Plan administration: staff create, edit and retire plans.

An edit is published at Stripe at once. Until that has succeeded the plan has no price there and is not sold, so that
nobody is charged another price than the one that is shown. Licenses and subscriptions that run keep what they have.
"""

from typing import Any, Final
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.plans import repository
from billing_api.commerce.plans.admin_schemas import AdminPlanView, CreatePlan, EditPlan, PlanList
from billing_api.commerce.plans.prices import objections
from billing_api.commerce.plans.service import PlanService
from billing_api.gateways.stripe.client import Stripe
from core.errors import Conflict, FieldError, NotFound, Refusal, Unprocessable
from core.ids import new_id
from core.licensing.plan import LIMITS
from core.telemetry import logger
from db.idempotency import Once, Replayable
from db.models.licensing import Plan
from db.unit_of_work import Database, StaffTransaction

_PRICED: Final = frozenset({"price_monthly", "price_yearly", "currency_prices"})


class PlanAdministration:
    def __init__(self, database: Database, stripe: Stripe) -> None:
        self._database = database
        self._stripe = stripe
        self._plans = PlanService(database)

    async def everything(self, principal: Principal) -> PlanList:
        async with self._database.as_staff(principal.user_id) as tx:
            return PlanList([AdminPlanView.of(*row) for row in await repository.every_plan(tx)])

    async def one(self, principal: Principal, plan_id: UUID) -> AdminPlanView:
        async with self._database.as_staff(principal.user_id) as tx:
            return await _shown(tx, plan_id)

    async def create(self, principal: Principal, wanted: CreatePlan, once: Once) -> Replayable[AdminPlanView]:
        async with self._database.as_staff(principal.user_id) as tx:
            if stored := await once.claim(tx, AdminPlanView):
                return stored
            told = _columns({name: getattr(wanted, name) for name in wanted.__struct_fields__})
            plan = Plan(id=new_id(), is_active=True, **told)
            await _expect_sellable(tx, plan)
            tx.session.add(plan)
            await tx.session.flush()
            await tx.audit("plan.created", "plan", plan.id, code=plan.code)
            plan_id = plan.id
        view = await self._published(principal, plan_id)
        async with self._database.as_staff(principal.user_id) as tx:
            return await once.record(tx, view)

    async def edit(self, principal: Principal, plan_id: UUID, wanted: EditPlan) -> AdminPlanView:
        """In force for purchases and changes from now on."""
        async with self._database.as_staff(principal.user_id) as tx:
            plan = await repository.lock(tx, plan_id)
            changed = {name: value for name, value in wanted.given().items() if getattr(plan, name) != value}
            before = {name: getattr(plan, name) for name in changed}
            with tx.session.no_autoflush:
                for name, value in changed.items():
                    setattr(plan, name, value)
                if _PRICED & changed.keys():
                    plan.stripe_price_id_monthly = plan.stripe_price_id_yearly = None
                await _expect_sellable(tx, plan)
            if changed:
                await tx.audit("plan.edited", "plan", plan_id, before=before, after=changed)
        return await self._published(principal, plan_id)

    async def retire(self, principal: Principal, plan_id: UUID) -> AdminPlanView:
        """Not sold any more. Its subscribers keep it, at their prices."""
        async with self._database.as_staff(principal.user_id) as tx:
            plan = await repository.lock(tx, plan_id)
            if plan.is_active:
                plan.is_active = False
                plan.stripe_price_id_monthly = plan.stripe_price_id_yearly = None
                await tx.audit("plan.retired", "plan", plan_id, code=plan.code)
        return await self._published(principal, plan_id)

    async def _published(self, principal: Principal, plan_id: UUID) -> AdminPlanView:
        """The plan after Stripe was told. Without an answer of Stripe's it stays unpublished, and the view says so."""
        try:
            await self._plans.align_one(self._stripe, plan_id)
        except Refusal as refusal:
            logger().warning("plan.not_published", plan_id=str(plan_id), cause=type(refusal).__name__)
        return await self.one(principal, plan_id)


async def _expect_sellable(tx: StaffTransaction, plan: Plan) -> None:
    if faults := objections(plan):
        told = "; ".join(f"{one.field} {one.detail}" for one in faults)
        raise Unprocessable(f"the prices cannot be charged: {told}", errors=faults)
    taken = await repository.name_taken(tx, code=plan.code, name=plan.name, besides=plan.id)
    if taken is not None:
        fault = FieldError(taken, "belongs to another plan", "repeated")
        raise Conflict(f"another plan has this {taken}; choose another one", errors=(fault,))


def _columns(wanted: dict[str, Any]) -> dict[str, Any]:
    prices = wanted.pop("currency_prices")
    limits = {name: wanted[name] for name in LIMITS}
    told = {name: {"month": one.month, "year": one.year} for name, one in prices.items()}
    return {**wanted, **limits, "currency_prices": told}


async def _shown(tx: StaffTransaction, plan_id: UUID) -> AdminPlanView:
    for plan, subscribers in await repository.every_plan(tx):
        if plan.id == plan_id:
            return AdminPlanView.of(plan, subscribers)
    raise NotFound("there is no such plan; list them with GET admin/plans")
