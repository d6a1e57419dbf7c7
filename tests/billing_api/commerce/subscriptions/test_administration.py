"""Subscriptions as staff find them, and cancel them for a customer."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from core.clock import rfc3339
from tests.billing_api.conftest import Buying, Client, FakeTime
from tests.support.buyer import Buyer
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/admin/subscriptions"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def cancel(one: Buyer, admin: Headers, key: str = "k", **body: Any) -> httpx.Response:
    headers = admin | {"Idempotency-Key": key}
    return await one.client.post(f"{PATH}/{one.id}/cancel", json={"reason": "ticket 93"} | body, headers=headers)


async def test_staff_find_subscriptions_by_what_they_know(
    client: Client, buyer: Buying, admin: Headers, clock: FakeTime
) -> None:
    one, other = await buyer("Starter"), await buyer("Professional")
    await other.done("cancel")
    tomorrow = rfc3339(clock() + timedelta(days=1))
    found = {
        "": 2,
        "?status=active": 2,
        "?status=past_due": 0,
        f"?email={one.user_id.hex}@EXAMPLE.com": 1,
        f"?license_id={one.license_id}": 1,
        f"?plan_id={await one.plan_id('Starter')}": 1,
        f"?stripe_id={one.stripe_id}": 1,
        "?stripe_id=sub_unknown": 0,
        "?ending=true": 1,
        "?ending=false": 1,
        f"?from={tomorrow}": 0,
        f"?to={tomorrow}": 2,
    }
    for query, number in found.items():
        answer = await client.get(f"{PATH}{query}", headers=admin)
        assert (answer.status_code, answer.json()["total"]) == (200, number), query
    shown = (await client.get(f"{PATH}/{one.id}", headers=admin)).json()
    assert shown.items() >= (await one.subscription()).items()
    assert (shown["email"], shown["stripe_subscription_id"]) == (f"{one.user_id.hex}@example.com", one.stripe_id)
    assert (await client.get(f"{PATH}/{uuid4()}", headers=admin)).status_code == 404


async def test_staff_see_what_is_open(client: Client, buyer: Buying, admin: Headers) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * 3600)
    await one.told()
    [shown] = (await client.get(f"{PATH}?status=past_due", headers=admin)).json()["items"]
    assert shown["open_payment"]["amount"] == {"amount": 2900, "currency": "usd"}
    assert shown.items() >= (await one.subscription()).items()


@pytest.mark.parametrize("query", ["?status=gone", "?from=yesterday", "?ending=soon", "?paid=true", "?plan_id=7"])
async def test_filters_that_are_not_understood_are_refused(client: Client, admin: Headers, query: str) -> None:
    assert (await client.get(f"{PATH}{query}", headers=admin)).status_code == 400


async def test_a_cancellation_by_staff_ends_it_with_the_period_and_is_told_to_staff_alone(
    buyer: Buying, admin: Headers, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    first, again = await cancel(one, admin, when="period_end"), await cancel(one, admin, when="period_end")
    assert (first.status_code, first.json()["cancel_at_period_end"]) == (200, True)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await one.subscription())["cancel_at_period_end"]
    assert (await one.license())["status"] == "active"
    [act] = await rows(database_urls, "SELECT detail, actor_id FROM audit_log WHERE action = 'subscription.cancelled'")
    assert (act["detail"], act["actor_id"] == one.user_id) == ({"when": "period_end", "reason": "ticket 93"}, False)
    assert (await one.done("resume"))["cancel_at_period_end"] is False


async def test_it_ends_at_once_and_once(buyer: Buying, admin: Headers) -> None:
    one = await buyer("Starter")
    answers = await asyncio.gather(*(cancel(one, admin, f"k{n}", when="now") for n in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert (await one.license())["status"] == "cancelled"
    assert (await one.at_stripe())["status"] == "canceled"


async def test_an_unpaid_one_ends_at_once_and_owes_nothing(buyer: Buying, admin: Headers) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * 3600)
    await one.told()
    ended = await cancel(one, admin, when="period_end")
    assert (ended.status_code, ended.json()["status"], ended.json()["open_payment"]) == (200, "cancelled", None)
    assert ended.json()["ended_at"] is not None
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]


@pytest.mark.parametrize(
    "body", [{}, {"when": "soon"}, {"when": "now", "reason": ""}, {"when": "now", "refund": True}, {"when": None}]
)
async def test_cancellations_that_are_not_understood_change_nothing(
    buyer: Buying, admin: Headers, body: dict[str, Any]
) -> None:
    one = await buyer("Starter")
    assert (await cancel(one, admin, **body)).status_code == 400
    assert (await one.at_stripe())["status"] == "active"
