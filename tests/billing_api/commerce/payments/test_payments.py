"""Payments as owners and staff read them."""

from datetime import timedelta

import pytest

from core.clock import rfc3339
from tests.billing_api.conftest import Buying, Client, FakeTime
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/admin/payments"
DAY = 24 * 3600


async def test_a_payment_names_its_invoice_and_nothing_that_did_not_happen(client: Client, buyer: Buying) -> None:
    one = await buyer("Starter")
    [payment] = (await client.get("/api/v1/payments", headers=one.me)).json()["items"]
    [invoice] = (await client.get("/api/v1/invoices", headers=one.me)).json()["items"]
    assert payment == (await client.get(f"/api/v1/payments/{payment['id']}", headers=one.me)).json()
    assert (payment["invoice_id"], payment["refunds"], payment["dispute"]) == (invoice["id"], [], None)
    assert (payment["failure"], payment["refunded"]) == (None, {"amount": 0, "currency": "usd"})


async def test_a_failed_payment_says_why(client: Client, buyer: Buying, clock: FakeTime) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * DAY)
    await one.told()
    failed, _ = (await client.get("/api/v1/payments", headers=one.me)).json()["items"]
    assert (failed["status"], failed["failure"]["code"]) == ("failed", "generic_decline")
    assert failed["failure"]["message"] == "Your card was declined."


async def test_staff_find_payments_by_what_they_know(
    client: Client, buyer: Buying, desk: Desk, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    one, _ = await buyer("Starter"), await buyer("Professional")
    admin = await desk.staff()
    [mine] = (await client.get("/api/v1/payments", headers=one.me)).json()["items"]
    [row] = await rows(database_urls, "SELECT * FROM payments WHERE id = :id", id=mine["id"])
    tomorrow = rfc3339(clock() + timedelta(days=1))
    found = {
        "": 2,
        "?status=succeeded": 2,
        "?status=failed": 0,
        f"?email={one.user_id.hex}@EXAMPLE.com": 1,
        f"?license_id={one.license_id}": 1,
        f"?invoice_id={mine['invoice_id']}": 1,
        f"?stripe_id={row['stripe_payment_intent_id']}": 1,
        f"?stripe_id={row['stripe_charge_id']}": 1,
        "?stripe_id=ch_unknown": 0,
        "?refunded=true": 0,
        "?refunded=false&disputed=false": 2,
        f"?from={tomorrow}": 0,
        f"?to={tomorrow}": 2,
    }
    for query, number in found.items():
        answer = await client.get(f"{PATH}{query}", headers=admin)
        assert (answer.status_code, answer.json()["total"]) == (200, number), query
    details = (await client.get(f"{PATH}/{mine['id']}", headers=admin)).json()
    assert (details["email"], details["refund_details"], details["disputes"]) == (
        f"{one.user_id.hex}@example.com",
        [],
        [],
    )


@pytest.mark.parametrize(
    "query", ["?status=gone", "?from=yesterday", "?disputed=perhaps", "?paid=true", "?license_id=7"]
)
async def test_filters_that_are_not_understood_are_refused(client: Client, desk: Desk, query: str) -> None:
    assert (await client.get(f"{PATH}{query}", headers=await desk.staff())).status_code == 400
