"""A customer with a license, and Stripe's test clock for that customer."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import httpx

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from core.errors import Busy
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk, Headers
from tests.support.stripe import objects, pay

PATH = "/api/v1/subscriptions"


async def at_once(mirror: Mirror, subjects: Iterable[StripeObject]) -> None:
    """Mirrors the objects as webhooks would; a call that is refused as busy is retried."""
    told = await asyncio.gather(*(mirror.mirror(subject) for subject in subjects), return_exceptions=True)
    assert [one for one in told if one is not None and not isinstance(one, Busy)] == []
    assert None in told


class Buyer:
    def __init__(
        self, client: httpx.AsyncClient, browser: httpx.AsyncClient, stripe: str, mirror: Mirror, desk: Desk
    ) -> None:
        self.client = client
        self.browser = browser
        self.stripe = stripe
        self.mirror = mirror
        self.desk = desk
        self.user_id = UUID(int=0)
        self.me: Headers = {}
        self.customer = ""
        self.stripe_id = ""
        self.id = ""
        self.license_id = ""

    async def buy(self, plan: str, interval: str, card: str, **more: Any) -> None:
        self.user_id = await self.desk.a_user()
        self.sign_in()
        order = {"plan_id": await self.plan_id(plan), "interval": interval, **more}
        path = "/api/v1/checkout/sessions"
        checkout = (await self.client.post(path, json=order, headers=self.me)).json()
        paid = await pay(self.browser, checkout["url"], card)
        if paid.headers.get("location", "").endswith("/confirm"):
            await self.browser.post(paid.headers["location"], data={"result": "complete"})
        seen = (await self.client.get(f"{path}/{checkout['session_id']}", headers=self.me)).json()
        self.license_id = seen["license_id"]
        self.id = (await self.client.get(PATH, headers=self.me)).json()["items"][0]["id"]
        email = f"{self.user_id.hex}@example.com"
        self.customer = (await objects(self.browser, self.stripe, "customers", email=email))[0]["id"]
        self.stripe_id = (await objects(self.browser, self.stripe, "subscriptions", customer=self.customer))[0]["id"]

    def sign_in(self) -> None:
        """Headers with an access token of the clock's present time."""
        self.me = self.desk.signed_in(self.user_id)

    async def plan_id(self, name: str) -> str:
        plans = (await self.client.get("/api/v1/plans")).json()["items"]
        return str(next(plan["id"] for plan in plans if plan["name"] == name))

    async def post(
        self, verb: str, plan: str | None = None, interval: str = "month", key: str | None = None
    ) -> httpx.Response:
        wish = None if plan is None else {"plan_id": await self.plan_id(plan), "interval": interval}
        headers = self.me | ({"Idempotency-Key": key} if key else {})
        return await self.client.post(f"{PATH}/{self.id}/{verb}", json=wish, headers=headers)

    async def done(self, verb: str, plan: str | None = None, interval: str = "month") -> dict[str, Any]:
        answer = await self.post(verb, plan, interval)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def subscription(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.get(f"{PATH}/{self.id}", headers=self.me)).json()
        return body

    async def license(self) -> dict[str, Any]:
        body: dict[str, Any] = (await self.client.get(f"/api/v1/licenses/{self.license_id}", headers=self.me)).json()
        return body

    async def told(self) -> None:
        """Handles the webhook of the subscription."""
        await self.mirror.mirror(StripeObject("subscription", self.stripe_id, self.customer))

    async def ask_stripe(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        answer = await self.browser.request(
            method, f"{self.stripe}/v1/{path}", data=form or None, auth=(STRIPE_KEY, "")
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def at_stripe(self) -> dict[str, Any]:
        return await self.ask_stripe("GET", f"subscriptions/{self.stripe_id}")

    async def invoices(self) -> list[tuple[str, str, int]]:
        """Invoices, newest first: reason, status, total."""
        found = await objects(self.browser, self.stripe, "invoices", subscription=self.stripe_id)
        return [(invoice["billing_reason"], invoice["status"], invoice["total"]) for invoice in found]

    async def use_card(self, method: str) -> None:
        attached = await self.ask_stripe("POST", f"payment_methods/{method}/attach", customer=self.customer)
        await self.ask_stripe("POST", f"subscriptions/{self.stripe_id}", default_payment_method=attached["id"])

    async def later(self, seconds: int) -> int:
        """Moves Stripe's test clock to so many seconds after the end of the present period."""
        clock = (await self.browser.post(f"{self.stripe}/_sim/customers/{self.customer}/test_clock", json={})).json()
        end: int = (await self.at_stripe())["items"]["data"][0]["current_period_end"]
        path = f"test_helpers/test_clocks/{clock['id']}/advance"
        await self.ask_stripe("POST", path, frozen_time=end + seconds)
        return end

    async def confirm(self, url: str) -> None:
        """Confirms the payment on the bank's page."""
        page = (await self.browser.get(url)).text
        address = page.partition('<a href="')[2].partition('"')[0]
        assert "/3ds/" in address, page
        await self.browser.post(address, data={"result": "complete"})
