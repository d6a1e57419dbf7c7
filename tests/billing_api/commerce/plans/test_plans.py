"""Plans on sale, and their products and prices at Stripe."""

import httpx
from sqlalchemy import select

from billing_api.commerce.plans.service import PlanService
from billing_api.gateways.stripe.client import StripeGateway
from db.models.licensing import Plan
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.stripe import objects


async def test_three_plans_are_on_offer_to_anybody(client: Client) -> None:
    page = (await client.get("/api/v1/plans")).json()
    offers = [(plan["name"], plan["price_monthly"], plan["price_yearly"]["amount"]) for plan in page["items"]]
    assert offers == [
        ("Starter", {"amount": 2900, "currency": "usd"}, 29000),
        ("Professional", {"amount": 9900, "currency": "usd"}, 99000),
        ("Enterprise", {"amount": 29900, "currency": "usd"}, 299000),
    ]
    names = ("max_accounts", "max_domains", "max_databases", "max_emails", "max_storage_gb")
    limits = {plan["name"]: tuple(plan[name] for name in names) for plan in page["items"]}
    assert limits["Starter"] == (1, 3, 5, 10, 10)
    assert limits["Professional"] == (5, 25, 50, 100, 100)
    assert limits["Enterprise"] == (None, None, None, None, 1024)


async def test_publishing_twice_makes_every_price_once(
    database: Database, stripe: StripeGateway, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    plans = PlanService(database)
    await plans.publish(stripe)
    assert await plans.publish(stripe) == 0
    prices = await objects(browser, stripe_simulator, "prices", limit="100")
    sold = [(price["unit_amount"], price["recurring"]["interval"], price["currency"]) for price in prices]
    for monthly in (2900, 9900, 29900):
        assert sold.count((monthly, "month", "usd")) == 1
        assert sold.count((monthly * 10, "year", "usd")) == 1


async def test_a_publication_that_was_cut_off_is_completed(database: Database, stripe: StripeGateway) -> None:
    plans = PlanService(database)
    await plans.publish(stripe)
    async with database.as_system() as tx:
        before = (await tx.session.scalars(select(Plan).where(Plan.name == "Starter"))).one()
        known = before.stripe_price_id_yearly
        before.stripe_price_id_yearly = None
    assert await plans.publish(stripe) == 1
    async with database.as_system() as tx:
        after = (await tx.session.scalars(select(Plan).where(Plan.name == "Starter"))).one()
    assert after.stripe_price_id_yearly == known
