"""Objects that were deleted at Stripe: "not found" is an answer, and the event is handled once."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.overdue import mirror_overdue
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import StripeGateway
from db.models.commerce import Checkout, Invoice, Subscription
from db.models.identity import User
from db.models.licensing import Plan
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, Client
from tests.support.buyer import Buyer
from tests.support.databases import rows
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects, pay

CHECKOUT = "/api/v1/checkout/sessions"

pytestmark = pytest.mark.usefixtures("on_sale")


class Shopper:
    """A customer before the first purchase."""

    def __init__(self, client: Client, browser: httpx.AsyncClient, stripe: str, desk: Desk) -> None:
        self.client, self.browser, self.stripe, self.desk = client, browser, stripe, desk
        self.me: Headers = {}
        self.email = ""

    async def order(self) -> httpx.Response:
        if not self.me:
            user_id = await self.desk.a_user()
            self.me, self.email = self.desk.signed_in(user_id), f"{user_id.hex}@example.com"
        plans = (await self.client.get("/api/v1/plans")).json()["items"]
        plan = next(plan["id"] for plan in plans if plan["name"] == "Starter")
        return await self.client.post(CHECKOUT, json={"plan_id": plan, "interval": "month"}, headers=self.me)

    async def customers(self) -> list[str]:
        found = await objects(self.browser, self.stripe, "customers", email=self.email)
        return [customer["id"] for customer in found]

    async def ask_stripe(self, method: str, path: str, **form: Any) -> dict[str, Any]:
        answer = await self.browser.request(
            method, f"{self.stripe}/v1/{path}", data=form or None, auth=(STRIPE_KEY, "")
        )
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


@pytest.fixture
def shopper(client: Client, browser: httpx.AsyncClient, stripe_simulator: str, desk: Desk) -> Shopper:
    return Shopper(client, browser, stripe_simulator, desk)


async def test_a_customer_that_was_deleted_at_stripe_buys_again_and_again(shopper: Shopper) -> None:
    for _ in range(3):
        assert (await shopper.order()).status_code == 201
        [customer] = await shopper.customers()
        await shopper.ask_stripe("DELETE", f"customers/{customer}")
    ordered = await shopper.order()
    assert ordered.status_code == 201
    await pay(shopper.browser, ordered.json()["url"])
    seen = await shopper.client.get(f"{CHECKOUT}/{ordered.json()['session_id']}", headers=shopper.me)
    assert seen.json()["license_id"] is not None


async def test_a_customer_that_was_deleted_before_we_noted_it_is_made_anew(
    shopper: Shopper, database: Database
) -> None:
    assert (await shopper.order()).status_code == 201
    [customer] = await shopper.customers()
    async with database.as_system() as tx:  # the process died before it wrote the customer down
        await tx.session.execute(update(User).values(stripe_customer_id=None))
    await shopper.ask_stripe("DELETE", f"customers/{customer}")
    assert (await shopper.order()).status_code == 201
    assert customer not in await shopper.customers()


async def test_a_missing_customer_is_understood_under_either_status(shopper: Shopper) -> None:
    """For a missing object in a parameter Stripe answers 400 or 404; for one in the path always 404."""
    assert (await shopper.order()).status_code == 201
    [customer] = await shopper.customers()
    said = {"type": "invalid_request_error", "code": "resource_missing", "param": "customer", "message": "none"}
    fault = {"kind": "status", "method": "POST", "path": "/v1/checkout/sessions", "status": 404}
    fault |= {"body": {"error": said}}
    assert (await shopper.browser.post(f"{shopper.stripe}/_sim/faults", json=fault)).is_success
    assert (await shopper.order()).status_code == 201
    assert len(set(await shopper.customers()) - {customer}) == 1


async def test_what_became_of_the_old_customers_subscription_is_still_mirrored(
    buyer: Buying, database: Database
) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("DELETE", f"customers/{one.customer}")
    order = {"plan_id": await one.plan_id("Starter"), "interval": "month"}
    assert (await one.client.post(CHECKOUT, json=order, headers=one.me)).status_code == 201
    await one.told()
    assert ((await one.subscription())["status"], (await one.license())["status"]) == ("cancelled", "cancelled")
    async with database.as_system() as tx:
        user = (await tx.session.execute(select(User).where(User.id == one.user_id))).scalar_one()
    assert user.stripe_customer_id not in {None, one.customer}
    assert user.former_stripe_customer_ids == [one.customer]


async def test_a_deleted_draft_is_gone_and_its_event_is_worked_off(
    shopper: Shopper, mirror: Mirror, database_urls: DatabaseUrls
) -> None:
    assert (await shopper.order()).status_code == 201
    [customer] = await shopper.customers()
    draft = (await shopper.ask_stripe("POST", "invoices", customer=customer))["id"]
    subject = StripeObject("invoice", draft, customer)
    await mirror.mirror(subject)
    assert [row["status"] for row in await rows(database_urls, "SELECT status FROM invoices")] == ["draft"]
    await shopper.ask_stripe("DELETE", f"invoices/{draft}")
    for _ in range(2):
        await mirror.mirror(subject)
        assert await rows(database_urls, "SELECT status FROM invoices") == []


async def test_an_invoice_that_was_paid_stays_whatever_stripe_says(
    buyer: Buying, mirror: Mirror, database: Database
) -> None:
    one = await buyer("Starter")
    async with database.as_system() as tx:
        await tx.session.execute(update(Invoice).values(stripe_invoice_id="in_of_another_account"))
    await mirror.mirror(StripeObject("invoice", "in_of_another_account", one.customer))
    assert len((await one.client.get("/api/v1/invoices", headers=one.me)).json()["items"]) == 1


async def lose_subscription(one: Buyer, database: Database) -> None:
    async with database.as_system() as tx:
        await tx.session.execute(update(Subscription).values(stripe_subscription_id="sub_gone"))
    one.stripe_id = "sub_gone"


@pytest.mark.parametrize("verb", ["cancel", "resume", "change", "preview-change", "webhook", "overdue"])
async def test_a_subscription_that_stripe_has_no_more_has_ended_and_what_was_paid_for_goes_on(
    buyer: Buying, database: Database, mirror: Mirror, verb: str
) -> None:
    one = await buyer("Starter")
    before = await one.license()
    await lose_subscription(one, database)
    if verb == "webhook":
        await one.told()
    elif verb == "overdue":
        begun = datetime.fromisoformat(before["activation_date"])
        async with database.as_system() as tx:
            await tx.session.execute(update(Subscription).values(current_period_end=begun, mirrored_at=begun))
        assert await mirror_overdue(database, mirror, begun + timedelta(hours=1)) == 1
    else:
        refused = await one.post(verb, "Professional" if "change" in verb else None)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert "has ended" in refused.json()["detail"]
    after = await one.license()
    assert ((await one.subscription())["status"], after["status"]) == ("cancelled", "active")
    assert (after["expiry_date"], after["auto_renew"]) == (before["expiry_date"], False)


async def test_a_session_that_stripe_has_no_more_is_a_checkout_that_has_expired(
    shopper: Shopper, database: Database
) -> None:
    started = (await shopper.order()).json()
    async with database.as_system() as tx:
        await tx.session.execute(update(Checkout).values(stripe_session_id="cs_gone"))
    seen = await shopper.client.get(f"{CHECKOUT}/{started['session_id']}", headers=shopper.me)
    assert (seen.status_code, seen.json()["status"]) == (200, "expired")


async def test_a_price_that_stripe_has_no_more_is_made_again(
    shopper: Shopper, database: Database, stripe: StripeGateway
) -> None:
    async with database.as_system() as tx:
        known = await tx.session.scalar(select(Plan.stripe_price_id_monthly).where(Plan.name == "Starter"))
        await tx.session.execute(update(Plan).values(stripe_price_id_monthly="price_gone"))
    try:
        assert (await shopper.order()).status_code == 201
        async with database.as_system() as tx:
            now = await tx.session.scalar(select(Plan.stripe_price_id_monthly).where(Plan.name == "Starter"))
    finally:
        await PlanService(database).publish(stripe)
    assert now == known


@pytest.mark.parametrize(
    ("verb", "of", "to"),
    [
        ("preview-change", "Starter", "Professional"),
        ("change", "Starter", "Professional"),
        ("change", "Professional", "Starter"),
    ],
)
async def test_a_subscription_changes_to_a_plan_whose_price_stripe_has_no_more(
    buyer: Buying, database: Database, stripe: StripeGateway, verb: str, of: str, to: str
) -> None:
    one = await buyer(of)
    async with database.as_system() as tx:
        lost = update(Plan).where(Plan.name == to).values(stripe_price_id_monthly="price_gone")
        await tx.session.execute(lost)
    try:
        answer = await one.post(verb, to)
        assert answer.status_code == 200, answer.text
        if verb == "change":
            shown = await one.subscription()
            assert to in {shown["plan"], (shown["pending_change"] or {}).get("plan")}
    finally:
        await PlanService(database).publish(stripe)
