"""Checkout: one intent, one session and one license, in every order and after every repetition."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select, update

from billing_api.server.wiring.services import Services
from core.ids import new_id
from db.models.commerce import Checkout, Invoice, Payment, PaymentIntent, PaymentStatus, Subscription
from db.models.identity import User
from db.models.licensing import License
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk, Headers
from tests.support.stripe import DECLINED_CARD, objects, pay

PATH = "/api/v1/checkout/sessions"
RETURN = "/checkout/return"

pytestmark = pytest.mark.usefixtures("on_sale")


async def an_order(client: Client, name: str = "Professional", interval: str = "month") -> dict[str, str]:
    plans = (await client.get("/api/v1/plans")).json()["items"]
    return {"plan_id": next(plan["id"] for plan in plans if plan["name"] == name), "interval": interval}


async def started(client: Client, me: Headers, **changes: str) -> dict[str, str]:
    answer = await client.post(PATH, json=await an_order(client) | changes, headers=me)
    assert answer.status_code == 201, answer.text
    checkout: dict[str, str] = answer.json()
    return checkout


async def count(database: Database, table: Any) -> int:
    async with database.as_system() as tx:
        return await tx.session.scalar(select(func.count()).select_from(table)) or 0


async def test_a_paid_checkout_is_a_license_with_everything_about_it(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient
) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me)
    assert (await client.get(f"{PATH}/{checkout['session_id']}", headers=me)).json()["status"] == "open"
    paid = await pay(browser, checkout["url"])
    assert paid.status_code == 303
    assert paid.headers["location"].endswith(f"{RETURN}?session_id={checkout['session_id']}")
    seen = (await client.get(f"{PATH}/{checkout['session_id']}", headers=me)).json()
    assert seen["status"] == "complete"
    license_ = (await client.get(f"/api/v1/licenses/{seen['license_id']}", headers=me)).json()
    subscription = (await client.get("/api/v1/subscriptions", headers=me)).json()["items"][0]
    invoice = (await client.get("/api/v1/invoices", headers=me)).json()["items"][0]
    payment = (await client.get("/api/v1/payments", headers=me)).json()["items"][0]
    assert (license_["plan"], license_["status"], license_["max_databases"]) == ("Professional", "active", 50)
    assert (subscription["status"], subscription["license_id"]) == ("active", license_["id"])
    assert license_["expiry_date"] == subscription["current_period_end"]
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", {"amount": 9900, "currency": "usd"})
    assert (payment["status"], payment["amount"]) == ("succeeded", {"amount": 9900, "currency": "usd"})
    assert (payment["license_id"], invoice["subscription_id"]) == (license_["id"], subscription["id"])
    for path in (f"/api/v1/invoices/{invoice['id']}", f"/api/v1/payments/{payment['id']}"):
        assert (await client.get(path, headers=me)).status_code == 200
        assert (await client.get(path, headers=await desk.a_customer())).status_code == 404


async def test_a_year_costs_ten_months(client: Client, desk: Desk, browser: httpx.AsyncClient) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me, **await an_order(client, "Starter", "year"))
    await pay(browser, checkout["url"])
    await client.get(f"{PATH}/{checkout['session_id']}", headers=me)
    subscription = (await client.get("/api/v1/subscriptions", headers=me)).json()["items"][0]
    payment = (await client.get("/api/v1/payments", headers=me)).json()["items"][0]
    assert (subscription["interval"], payment["amount"]["amount"]) == ("year", 29000)


async def test_concurrent_confirmations_make_one_license(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient
) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me)
    await pay(browser, checkout["url"])
    session = checkout["session_id"]
    paths = [f"{PATH}/{session}", f"{RETURN}?session_id={session}"] * 5
    answers = await asyncio.gather(*(client.get(path, headers=me) for path in paths))
    assert {answer.status_code for answer in answers} == {200}
    for table in (License, Subscription, Invoice, Payment, PaymentIntent):
        assert await count(database, table) == 1, table


async def test_a_declined_card_is_no_license(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient
) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me)
    declined = await pay(browser, checkout["url"], DECLINED_CARD)
    assert declined.status_code == 402
    seen = (await client.get(f"{PATH}/{checkout['session_id']}", headers=me)).json()
    assert (seen["status"], seen["license_id"]) == ("open", None)
    assert await count(database, License) == 0
    again = await pay(browser, checkout["url"])
    assert again.status_code == 303
    assert (await client.get(f"{PATH}/{checkout['session_id']}", headers=me)).json()["license_id"] is not None


async def test_a_second_purchase_is_a_second_license(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    user_id = await desk.a_user()
    me = desk.signed_in(user_id)
    for _ in range(2):
        checkout = await started(client, me)
        await pay(browser, checkout["url"])
        await client.get(f"{PATH}/{checkout['session_id']}", headers=me)
    assert await count(database, License) == 2
    customers = await objects(browser, stripe_simulator, "customers", email=f"{user_id.hex}@example.com")
    assert len(customers) == 1


async def test_an_order_sent_twice_is_one_session(client: Client, desk: Desk, database: Database) -> None:
    me = await desk.a_customer() | {"Idempotency-Key": "buy-1"}
    order = await an_order(client)
    first, second = [await client.post(PATH, json=order, headers=me) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert await count(database, Checkout) == 1
    other = await client.post(PATH, json=order | {"interval": "year"}, headers=me)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_an_order_that_is_still_running_is_not_started_again(
    client: Client, desk: Desk, database: Database
) -> None:
    me = await desk.a_customer() | {"Idempotency-Key": "buy-2"}
    order = await an_order(client)
    answers = await asyncio.gather(*(client.post(PATH, json=order, headers=me) for _ in range(6)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 201
    assert set(codes) <= {201, 409}
    assert len({answer.json()["session_id"] for answer in answers if answer.status_code == 201}) == 1
    assert await count(database, Checkout) == 1


async def test_stripe_away_is_said_and_a_retry_finds_the_same_intent(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    me = await desk.a_customer()
    fault = {"kind": "status", "status": 500, "method": "POST", "path": "/v1/checkout/sessions", "times": 10}
    assert (await browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    order = await an_order(client)
    try:
        refused = await client.post(PATH, json=order, headers=me)
    finally:
        await browser.delete(f"{stripe_simulator}/_sim/faults")
    assert (refused.status_code, refused.json()["code"]) == (502, "partner_unavailable")
    assert refused.json()["conclusive"] is False
    assert (await client.post(PATH, json=order, headers=me)).status_code == 201


async def test_a_stripe_that_hangs_takes_neither_the_page_nor_the_database(
    client: Client, desk: Desk, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    me = await desk.a_customer()
    checkouts = [await started(client, me) for _ in range(3)]
    fault = {"kind": "timeout_before", "method": "GET", "path": "/v1/checkout/sessions/*", "times": 50}
    fault |= {"hang_seconds": 60}  # longer than every timeout
    assert (await browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    try:
        pages = [client.get(f"{RETURN}?session_id={one['session_id']}") for one in checkouts * 10]
        waiting = asyncio.gather(*pages)
        others = await asyncio.gather(*(client.get("/api/v1/licenses", headers=me) for _ in range(10)))
        assert {answer.status_code for answer in others} == {200}
        answers = await waiting
    finally:
        await browser.delete(f"{stripe_simulator}/_sim/faults")
    assert {answer.status_code for answer in answers} == {200}
    assert all("confirming your payment" in answer.text for answer in answers)


async def test_the_return_page_tells_how_it_went_and_nothing_else(
    client: Client, desk: Desk, browser: httpx.AsyncClient
) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me)
    address = f"{RETURN}?session_id={checkout['session_id']}"
    before = await client.get(address)
    assert "confirming your payment" in before.text
    await pay(browser, checkout["url"])
    after = await client.get(address)
    assert "license is ready" in after.text
    assert "NP-" not in after.text
    assert "license is ready" in (await client.get(f"{address}&cancelled=1")).text
    assert (await client.get(f"{RETURN}?session_id={new_id()}")).status_code == 404
    assert (await client.get(f"{RETURN}?session_id=x")).status_code == 400


async def test_a_left_payment_page_says_so(client: Client, desk: Desk) -> None:
    checkout = await started(client, await desk.a_customer())
    page = await client.get(f"{RETURN}?session_id={checkout['session_id']}&cancelled=1")
    assert "Nothing was bought" in page.text


async def test_an_expired_checkout_does_not_reload_for_ever(
    client: Client, desk: Desk, browser: httpx.AsyncClient, stripe_simulator: str, database: Database
) -> None:
    checkout = await started(client, await desk.a_customer())
    async with database.as_system() as tx:
        session_id = (await tx.session.execute(select(Checkout.stripe_session_id))).scalar_one()
    expire = f"{stripe_simulator}/v1/checkout/sessions/{session_id}/expire"
    assert (await browser.post(expire, auth=(STRIPE_KEY, ""))).is_success
    page = await client.get(f"{RETURN}?session_id={checkout['session_id']}")
    assert "has expired" in page.text
    assert "refresh" not in page.text


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_a_try_that_stripe_refused_does_not_lock_its_key(
    client: Client, desk: Desk, browser: httpx.AsyncClient, stripe_simulator: str, status: int
) -> None:
    me = await desk.a_customer() | {"Idempotency-Key": "buy-again"}
    fault = {"kind": "status", "status": status, "method": "POST", "path": "/v1/checkout/sessions", "times": 10}
    assert (await browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    order = await an_order(client)
    try:
        refused = await client.post(PATH, json=order, headers=me)
    finally:
        await browser.delete(f"{stripe_simulator}/_sim/faults")
    assert (refused.status_code, refused.headers["content-type"]) == (502, "application/problem+json")
    assert (await client.post(PATH, json=order, headers=me)).status_code == 201


async def test_a_customer_whose_creation_was_cut_off_may_change_the_name_and_buy(
    client: Client, desk: Desk, browser: httpx.AsyncClient, stripe_simulator: str, database: Database
) -> None:
    user_id = await desk.a_user()
    me, order = desk.signed_in(user_id), await an_order(client)
    fault = {"kind": "drop_after_effect", "method": "POST", "path": "/v1/customers", "times": 3}
    assert (await browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    try:
        assert (await client.post(PATH, json=order, headers=me)).status_code == 502
    finally:
        await browser.delete(f"{stripe_simulator}/_sim/faults")
    async with database.as_system() as tx:
        await tx.session.execute(update(User).where(User.id == user_id).values(full_name="Another Name"))
    assert (await client.post(PATH, json=order, headers=me)).status_code == 201
    made = await objects(browser, stripe_simulator, "customers", email=f"{user_id.hex}@example.com")
    assert [customer["name"] for customer in made] == ["Another Name"]


async def test_another_customers_checkout_does_not_exist(client: Client, desk: Desk) -> None:
    checkout = await started(client, await desk.a_customer())
    answer = await client.get(f"{PATH}/{checkout['session_id']}", headers=await desk.a_customer())
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "change",
    [{"plan_id": "x"}, {"interval": "week"}, {"price": 1}, {"plan_id": str(UUID(int=1))}, {"interval": None}],
)
async def test_bad_orders_are_refused(client: Client, desk: Desk, change: dict[str, Any]) -> None:
    answer = await client.post(PATH, json=await an_order(client) | change, headers=await desk.a_customer())
    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_closed_account_buys_nothing(client: Client, desk: Desk, database: Database) -> None:
    user_id = await desk.a_user()
    me = desk.signed_in(user_id)
    async with database.as_system() as tx:
        (await tx.session.execute(select(User).where(User.id == user_id))).scalar_one().is_active = False
    assert (await client.post(PATH, json=await an_order(client), headers=me)).status_code == 401


async def test_a_payment_is_one_row_across_partitions(
    client: Client, desk: Desk, database: Database, browser: httpx.AsyncClient, services: Services
) -> None:
    me = await desk.a_customer()
    checkout = await started(client, me)
    await pay(browser, checkout["url"])
    for _ in range(3):
        await services.commerce.checkouts.refresh(UUID(checkout["session_id"]))
    async with database.as_system() as tx:
        payment = (await tx.session.execute(select(Payment))).scalar_one()
        registered = (await tx.session.execute(select(PaymentIntent))).scalar_one()
    assert (payment.status, payment.id) == (PaymentStatus.SUCCEEDED, registered.payment_id)
    assert payment.created_at == registered.payment_created_at
