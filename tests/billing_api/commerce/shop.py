"""A customer who orders in detail, and what is sold to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import StripeGateway
from db.unit_of_work import Database
from tests.billing_api.conftest import FakeTime
from tests.support.databases import change
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import GOOD_CARD, objects, pay

PATH = "/api/v1/checkout/sessions"
SUBSCRIPTIONS = "/api/v1/subscriptions"


class Shopper:
    """A customer with one session, and Stripe's objects for it."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        browser: httpx.AsyncClient,
        stripe: str,
        mirror: Mirror,
        desk: Desk,
        clock: FakeTime,
        user_id: UUID,
    ) -> None:
        self.client = client
        self.browser = browser
        self.stripe = stripe
        self.mirror = mirror
        self.desk = desk
        self.clock = clock
        self.user_id = user_id

    @property
    def me(self) -> Headers:
        return self.desk.signed_in(self.user_id)

    async def order(self, plan: str = "Starter", interval: str = "month", **more: Any) -> httpx.Response:
        plans = (await self.client.get("/api/v1/plans")).json()["items"]
        plan_id = next(one["id"] for one in plans if one["name"] == plan)
        body = {"plan_id": plan_id, "interval": interval, **more}
        return await self.client.post(PATH, json=body, headers=self.me)

    async def pays(self, answer: httpx.Response, card: str = GOOD_CARD) -> dict[str, Any]:
        """Pays on Stripe's page; returns the checkout as it is then."""
        assert answer.status_code == 201, answer.text
        paid = await pay(self.browser, answer.json()["url"], card)
        assert paid.status_code == 303, paid.text
        return await self.checkout(answer.json()["session_id"])

    async def checkout(self, session_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get(f"{PATH}/{session_id}", headers=self.me)).json()
        return found

    async def buys(self, plan: str = "Starter", interval: str = "month", **more: Any) -> dict[str, Any]:
        """Orders and pays; returns the subscription."""
        seen = await self.pays(await self.order(plan, interval, **more))
        assert seen["status"] == "complete", seen
        return (await self.subscriptions())[0]

    async def subscriptions(self) -> list[dict[str, Any]]:
        return await self.items(SUBSCRIPTIONS)

    async def licenses(self) -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in await self.items("/api/v1/licenses")}

    async def items(self, path: str) -> list[dict[str, Any]]:
        answer = await self.client.get(path, headers=self.me)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    async def key_of(self, license_id: str) -> str:
        """The license key, as its owner is shown it."""
        found = await self.client.get(f"/api/v1/licenses/{license_id}/key", headers=self.me)
        assert found.status_code == 200, found.text
        return str(found.json())

    async def ask_stripe(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        answer = await self.browser.request(
            method, f"{self.stripe}/v1/{path}", data=form or None, auth=(STRIPE_KEY, "")
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def customer(self) -> str:
        email = f"{self.user_id.hex}@example.com"
        return str((await objects(self.browser, self.stripe, "customers", email=email))[0]["id"])

    async def at_stripe(self) -> list[dict[str, Any]]:
        """The subscriptions that Stripe has, the newest first."""
        return await objects(self.browser, self.stripe, "subscriptions", customer=await self.customer(), status="all")

    async def told(self) -> None:
        """Handles an event of each subscription."""
        for one in await self.at_stripe():
            await self.mirror.mirror(StripeObject("subscription", one["id"], one["customer"]))

    async def ends(self) -> None:
        """Ends the newest subscription at Stripe, and is told."""
        await self.ask_stripe("DELETE", f"subscriptions/{(await self.at_stripe())[0]['id']}")
        await self.told()

    async def goes_to(self, unix: int) -> None:
        """Moves Stripe's test clock of the customer there, and ours; the events are handled."""
        customer = await self.customer()
        clock = (await self.browser.post(f"{self.stripe}/_sim/customers/{customer}/test_clock", json={})).json()
        await self.ask_stripe("POST", f"test_helpers/test_clocks/{clock['id']}/advance", frozen_time=unix)
        self.clock.now = self.clock.now.fromtimestamp(unix, self.clock.now.tzinfo)
        await self.told()

    async def a_code(self, coupon: dict[str, Any], **more: Any) -> str:
        """A promotion code of a new coupon."""
        made = await self.ask_stripe("POST", "coupons", **coupon)
        form = {"promotion[type]": "coupon", "promotion[coupon]": made["id"], **more}
        return str((await self.ask_stripe("POST", "promotion_codes", **form))["code"])


@asynccontextmanager
async def sold_differently(
    urls: DatabaseUrls, database: Database, stripe: StripeGateway, changes: str
) -> AsyncIterator[None]:
    """Starter is sold with these changes, such as `trial_days = 14`, and afterwards as before."""
    before = "trial_days = NULL, currency_prices = '{}', price_monthly = 2900, price_yearly = 29000"
    await change(urls, f"UPDATE plans SET {changes} WHERE name = 'Starter'")
    await PlanService(database).publish(stripe)
    try:
        yield
    finally:
        await change(urls, f"UPDATE plans SET {before} WHERE name = 'Starter'")
        await PlanService(database).publish(stripe)
