"""What no webhook told is found: by Stripe's list of events, or by a walk over all customers. Staff are told."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.listing import StripeListing
from billing_api.operations.stripe_reconciliation.service import Reconciled, StripeReconciliation
from billing_api.operations.webhooks.service import WebhookProcessor
from core.errors import Refusal
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, Client, FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.stripe import pay

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

OVERLAP = timedelta(minutes=10)
OF_ONE = "WHERE payload -> 'data' -> 'object' ->> 'customer' = :customer"
PENDING = "SELECT id FROM webhook_events WHERE NOT processed ORDER BY created_at"


class Office:
    """The reconciliation with our clock, and workers that process what it stores."""

    def __init__(
        self,
        reconciliation: StripeReconciliation,
        processor: WebhookProcessor,
        clock: FakeTime,
        urls: DatabaseUrls,
    ) -> None:
        self.reconciliation = reconciliation
        self._processor = processor
        self._clock = clock
        self._urls = urls

    async def look(self, *, after: timedelta = timedelta(minutes=5)) -> Reconciled:
        self._clock.now += after
        return await self.reconciliation.run()

    async def process(self) -> None:
        for event in await rows(self._urls, PENDING):
            await self._processor.process(event["id"])

    async def told(self, action: str) -> list[dict[str, Any]]:
        found = await rows(self._urls, "SELECT detail FROM audit_log WHERE action = :action", action=action)
        return [row["detail"] for row in found]


@pytest.fixture
async def office(
    database: Database, stripe: StripeGateway, mirror: Mirror, clock: FakeTime, database_urls: DatabaseUrls
) -> Office:
    reconciliation = StripeReconciliation(database, StripeListing(stripe.v1), mirror, clock)
    processor = WebhookProcessor(database, mirror, livemode=False)
    office = Office(reconciliation, processor, clock, database_urls)
    assert await reconciliation.run() == Reconciled(), "nobody has bought anything, so nobody is walked"
    # The simulator has other tests' events too: with the overlap of ten minutes, those from now on are read.
    clock.now += OVERLAP
    await change(database_urls, "UPDATE stripe_event_cursor SET read_until = :until", until=clock.now)
    return office


async def test_a_purchase_of_which_nothing_was_told_becomes_a_license(
    office: Office, client: Client, browser: httpx.AsyncClient, desk: Desk, database_urls: DatabaseUrls
) -> None:
    """Its events were lost, and the buyer closed the browser on Stripe's page."""
    me = await desk.a_customer()
    plan = (await client.get("/api/v1/plans")).json()["items"][0]["id"]
    order = {"plan_id": plan, "interval": "month"}
    checkout = (await client.post("/api/v1/checkout/sessions", json=order, headers=me)).json()
    await pay(browser, checkout["url"])
    assert await rows(database_urls, "SELECT 1 FROM licenses") == []
    found = await office.look()
    assert found.recovered > 5
    await office.process()
    assert [row["status"] for row in await rows(database_urls, "SELECT status FROM licenses")] == ["active"]
    [told] = await office.told("stripe.events_recovered")
    assert (told["count"], len(told["events"])) == (found.recovered, min(found.recovered, 20))
    assert await office.look() == Reconciled()


async def test_a_lost_end_is_found_within_minutes(office: Office, buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")
    await office.look()
    await office.process()
    one.sign_in()
    assert (await one.license())["status"] == "cancelled"


async def test_what_a_webhook_brought_is_not_taken_twice_and_what_is_young_may_still_come(
    office: Office, buyer: Buying, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    clock.now -= OVERLAP
    before = clock.now - timedelta(seconds=70)
    await change(database_urls, "UPDATE stripe_event_cursor SET read_until = :until", until=before)
    mine = f"SELECT 1 FROM webhook_events {OF_ONE}"
    await office.look(after=timedelta(minutes=1))
    assert await rows(database_urls, mine, customer=one.customer) == []
    await office.look()
    assert len(await rows(database_urls, mine, customer=one.customer)) > 5
    lost = f"DELETE FROM webhook_events {OF_ONE} AND event_type = 'invoice.paid'"
    assert await change(database_urls, lost, customer=one.customer) == 1
    assert (await office.look()).recovered == 1, "ten minutes are read again"
    assert (await office.look(after=timedelta(hours=1))).recovered == 0


async def test_two_at_once_store_each_event_once(office: Office, buyer: Buying, database_urls: DatabaseUrls) -> None:
    await buyer("Starter")
    found = await asyncio.gather(office.look(), office.reconciliation.run(), office.reconciliation.run())
    stored = await rows(database_urls, "SELECT 1 FROM webhook_events")
    jobs = await rows(database_urls, "SELECT 1 FROM outbox WHERE job ->> 'type' = 'process_webhook'")
    assert sum(one.recovered for one in found) == len(stored) == len(jobs) > 0


async def test_more_events_than_a_page_has(office: Office, buyer: Buying, database_urls: DatabaseUrls) -> None:
    one = await buyer("Starter")
    for number in range(120):
        await one.ask_stripe("POST", f"customers/{one.customer}", name=f"Name {number}")
    found = await office.look()
    stored = await rows(database_urls, "SELECT source_event_id FROM webhook_events")
    assert found.recovered == len(stored) > 120


async def test_where_stripe_does_not_answer_the_cursor_stays(office: Office, buyer: Buying) -> None:
    one = await buyer("Starter")
    faults = f"{one.stripe}/_sim/faults"
    fault = {"kind": "status", "status": 400, "path": "/v1/events", "method": "GET"}
    (await one.browser.post(faults, json=fault)).raise_for_status()
    with pytest.raises(Refusal):
        await office.look()
    await one.browser.delete(faults)
    assert (await office.look()).recovered > 0


async def test_after_a_month_without_reading_every_customer_is_walked_and_staff_are_told(
    office: Office, buyer: Buying, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    ended, unpaid = await buyer("Starter"), await buyer("Starter")
    await ended.ask_stripe("DELETE", f"subscriptions/{ended.stripe_id}")
    await unpaid.use_card("pm_card_chargeCustomerFail")
    await unpaid.later(2 * 3600)
    assert await office.look(after=timedelta(days=26)) == Reconciled(walked=2)
    [told] = await office.told("stripe.all_customers_walked")
    assert (told["customers"], told["failed"]) == (2, 0)
    statuses = await rows(database_urls, "SELECT status FROM invoices ORDER BY status")
    assert [row["status"] for row in statuses] == ["open", "paid", "paid"]
    assert [row["status"] for row in await rows(database_urls, "SELECT status FROM licenses ORDER BY status")] == [
        "active",
        "cancelled",
    ]
    assert await office.look() == Reconciled(recovered=0)


async def test_a_customer_that_cannot_be_read_stops_no_other(office: Office, buyer: Buying) -> None:
    first, second = await buyer("Starter"), await buyer("Starter")
    for one in (first, second):
        await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")
    faults = f"{first.stripe}/_sim/faults"
    fault = {"kind": "status", "status": 400, "path": "/v1/subscriptions", "method": "GET"}
    (await first.browser.post(faults, json=fault)).raise_for_status()
    assert await office.reconciliation.run(walk=True) == Reconciled(walked=2, failed=1)
    await first.browser.delete(faults)
    assert {(await one.license())["status"] for one in (first, second)} == {"active", "cancelled"}


async def test_an_event_of_the_other_mode_is_stored_and_never_mirrored(
    office: Office, buyer: Buying, database: Database, mirror: Mirror, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")
    await office.look()
    await change(database_urls, "UPDATE webhook_events SET payload = payload || '{\"livemode\": true}'")
    await office.process()
    assert await rows(database_urls, PENDING) == []
    one.sign_in()
    assert (await one.license())["status"] == "active"


async def test_a_customer_that_was_deleted_at_stripe_is_not_used_again(
    office: Office, buyer: Buying, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("DELETE", f"customers/{one.customer}")
    await office.look()
    await office.process()
    [user] = await rows(
        database_urls, "SELECT stripe_customer_id, former_stripe_customer_ids FROM users WHERE id = :id", id=one.user_id
    )
    assert user == {"stripe_customer_id": None, "former_stripe_customer_ids": [one.customer]}


async def test_a_price_of_no_plan_keeps_the_plan_extends_what_was_paid_and_is_told_once(
    office: Office, buyer: Buying
) -> None:
    one = await buyer("Starter")
    product = (await one.at_stripe())["items"]["data"][0]["price"]["product"]
    price = await one.ask_stripe(
        "POST",
        "prices",
        product=product,
        currency="usd",
        unit_amount=1234,
        **{"recurring[interval]": "month"},
    )
    item = (await one.at_stripe())["items"]["data"][0]["id"]
    changed = {"items[0][id]": item, "items[0][price]": price["id"], "proration_behavior": "none"}
    await one.ask_stripe("POST", f"subscriptions/{one.stripe_id}", **changed)
    before = await one.license()
    end = await one.later(2 * 3600)
    for _ in range(2):
        await one.told()
    after = await one.license()
    assert (after["license_type"], after["status"]) == (before["license_type"], "active")
    assert after["expiry_date"] > before["expiry_date"]
    assert end > 0
    assert [told["price"] for told in await office.told("subscription.price_unknown")] == [price["id"]]
