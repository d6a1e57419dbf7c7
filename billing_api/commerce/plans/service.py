"""Plan use cases: the plans on sale, and publishing them at Stripe as products and prices."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from billing_api.commerce.plans import repository
from billing_api.commerce.plans.schemas import PlanView
from billing_api.gateways.stripe.client import CatalogueEntry, Stripe
from db.models.licensing import Interval, Plan
from db.paging import Page
from db.reads import SystemReads
from db.unit_of_work import Database


class _Published(NamedTuple):
    prices: Mapping[Interval, str]
    changed: bool


class PlansOnSale:
    def __init__(self, reads: SystemReads) -> None:
        self._reads = reads

    async def read(self, currency: str | None = None) -> Page[PlanView]:
        """The plans on sale, the cheapest first. With a currency: those that are sold in it, at their prices there."""
        rows = await self._reads.rows(repository.ON_SALE)
        items = [PlanView.read(row, currency) for row in rows if currency in {None, row.currency, *row.currency_prices}]
        return Page(items, total=len(items), limit=100, offset=0)


class PlanService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def publish(self, stripe: Stripe) -> int:
        """Creates every plan's product and prices at Stripe, and stores the prices' ids. Idempotent.

        Returns how many plans were changed. A plan whose price was edited gets a new Stripe price. Subscriptions keep
        the price at which they were sold.
        """
        async with self._database.as_system() as tx:
            plans, retired = await repository.on_offer(tx), await repository.retired(tx)
        for plan in retired:
            await stripe.archive_prices(plan.id, keep=())
        return sum([(await self._publish(stripe, plan)).changed for plan in plans])

    async def align_one(self, stripe: Stripe, plan_id: UUID) -> None:
        """Publishes a plan that is on sale; archives the prices of one that is retired."""
        async with self._database.as_system() as tx:
            on_sale = {plan.id: plan for plan in await repository.on_offer(tx)}
        if plan_id in on_sale:
            await self._publish(stripe, on_sale[plan_id])
        else:
            await stripe.archive_prices(plan_id, keep=())

    async def publish_one(self, stripe: Stripe, plan_id: UUID) -> Mapping[Interval, str]:
        """The prices of a plan at Stripe. A price that was deleted there is created again."""
        async with self._database.as_system() as tx:
            plan = await repository.one_on_offer(tx, plan_id)
        return (await self._publish(stripe, plan)).prices

    async def _publish(self, stripe: Stripe, plan: Plan) -> _Published:
        prices = await stripe.ensure_prices(_entry(plan))
        month, year = prices[Interval.MONTH], prices[Interval.YEAR]
        async with self._database.as_system() as tx:
            await repository.store_prices(tx, plan.id, prices)
            fresh = await repository.one_on_offer(tx, plan.id)
            changed = (fresh.stripe_price_id_monthly, fresh.stripe_price_id_yearly) != (month, year)
            fresh.stripe_price_id_monthly, fresh.stripe_price_id_yearly = month, year
        await stripe.archive_prices(plan.id, keep=(month, year))
        return _Published(prices, changed)


def _entry(plan: Plan) -> CatalogueEntry:
    amounts = {Interval.MONTH: plan.price_monthly, Interval.YEAR: plan.price_yearly}
    return CatalogueEntry(plan.id, plan.name, plan.description, plan.currency, amounts, plan.currency_prices)
