"""The catalog: staff create, edit and retire plans, and Stripe follows; who has bought keeps what was bought."""

from typing import Any

import httpx
import pytest

from billing_api.commerce.plans.service import PlanService
from billing_api.gateways.stripe.client import StripeGateway
from core.ids import new_id
from db.unit_of_work import Database
from tests.billing_api.commerce.shop import SUBSCRIPTIONS, Shopper
from tests.billing_api.conftest import Client
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

PATH = "/api/v1/admin/plans"


@pytest.fixture
async def staff(desk: Desk) -> Headers:
    return await desk.staff()


def a_plan(**changes: Any) -> dict[str, Any]:
    name = new_id().hex[-12:]
    plan: dict[str, Any] = {"code": f"agency-{name}", "name": f"Agency {name}", "license_type": "professional"}
    plan |= {"description": "For agencies.", "currency": "usd", "price_monthly": 4900, "price_yearly": 49000}
    limits = {f"max_{one}": 7 for one in ("accounts", "domains", "databases", "emails")} | {"max_storage_gb": None}
    return plan | limits | changes


async def made(client: Client, staff: Headers, **changes: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json=a_plan(**changes), headers=staff)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def prices_of(shopper_or: tuple[httpx.AsyncClient, str], plan_id: str) -> list[dict[str, Any]]:
    browser, stripe = shopper_or
    return await objects(browser, stripe, "prices", product=f"np_{plan_id}", limit="100")


@pytest.fixture
def at_stripe(browser: httpx.AsyncClient, stripe_simulator: str) -> tuple[httpx.AsyncClient, str]:
    return browser, stripe_simulator


async def test_a_plan_is_made_published_and_sold(
    client: Client, staff: Headers, shopper: Shopper, at_stripe: tuple[httpx.AsyncClient, str]
) -> None:
    plan = await made(client, staff, trial_days=7, currency_prices={"eur": {"month": 4500, "year": 45000}})
    assert (plan["is_on_sale"], plan["is_published"], plan["subscribers"]) == (True, True, 0)
    assert plan["price_monthly"] == {"amount": 4900, "currency": "usd"}
    sold = {one["recurring"]["interval"]: one["unit_amount"] for one in await prices_of(at_stripe, plan["id"])}
    assert sold == {"month": 4900, "year": 49000}
    order = {"plan_id": plan["id"], "interval": "month"}
    page = await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me)
    assert (await shopper.pays(page))["status"] == "complete"
    [license_] = (await shopper.licenses()).values()
    assert (license_["plan"], license_["license_type"], license_["max_domains"]) == (plan["name"], "professional", 7)
    seen = await client.get(f"{PATH}/{plan['id']}", headers=staff)
    assert (seen.status_code, seen.json()["subscribers"]) == (200, 1)
    listed = (await client.get(PATH, headers=staff)).json()["items"]
    assert plan["id"] in {one["id"] for one in listed}


async def test_an_edit_is_for_later_purchases_and_archives_the_old_price(
    client: Client, staff: Headers, shopper: Shopper, at_stripe: tuple[httpx.AsyncClient, str]
) -> None:
    plan = await made(client, staff)
    order = {"plan_id": plan["id"], "interval": "month"}
    await shopper.pays(await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me))
    edit = {"price_monthly": 5900, "max_domains": 9, "name": plan["name"] + " Plus"}
    edited = await client.patch(f"{PATH}/{plan['id']}", json=edit, headers=staff)
    assert (edited.status_code, edited.json()["is_published"]) == (200, True)
    active = {(one["unit_amount"], one["active"]) for one in await prices_of(at_stripe, plan["id"])}
    assert active == {(4900, False), (5900, True), (49000, True)}
    # 1. What runs is as it was: the limits, the renewal, and also a further license.
    [license_] = (await shopper.licenses()).values()
    assert license_["max_domains"] == 7
    [subscription] = await shopper.subscriptions()
    assert subscription["next_invoice"]["amount"]["amount"] == 4900
    more = order | {"quantity": 2}
    path = f"{SUBSCRIPTIONS}/{subscription['id']}"
    seen = (await client.post(f"{path}/preview-change", json=more, headers=shopper.me)).json()
    assert (seen["price"]["amount"], seen["next_invoice"]["amount"]["amount"]) == (9800, 9800)
    now = await client.post(f"{path}/change", json=more, headers=shopper.me)
    assert (now.status_code, now.json()["quantity"]) == (200, 2)
    fewer = order | {"quantity": 1, "end_license_ids": now.json()["license_ids"][1:]}
    now = await client.post(f"{path}/change", json=fewer, headers=shopper.me)
    assert (now.status_code, now.json()["next_invoice"]["amount"]["amount"]) == (200, 4900)
    # 2. A purchase from now on is another one.
    await shopper.pays(await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me))
    newest = (await shopper.subscriptions())[0]
    assert newest["next_invoice"]["amount"]["amount"] == 5900
    assert (await shopper.licenses())[newest["license_id"]]["max_domains"] == 9


async def test_a_price_that_is_changed_back_is_the_old_one_again(
    client: Client, staff: Headers, at_stripe: tuple[httpx.AsyncClient, str]
) -> None:
    plan = await made(client, staff)
    for amount in (5900, 4900):
        await client.patch(f"{PATH}/{plan['id']}", json={"price_monthly": amount}, headers=staff)
    active = {(one["unit_amount"], one["active"]) for one in await prices_of(at_stripe, plan["id"])}
    assert active == {(4900, True), (5900, False), (49000, True)}


async def test_a_retired_plan_is_sold_no_more_and_goes_on_for_who_has_it(
    client: Client, staff: Headers, shopper: Shopper, at_stripe: tuple[httpx.AsyncClient, str]
) -> None:
    plan = await made(client, staff)
    order = {"plan_id": plan["id"], "interval": "month"}
    await shopper.pays(await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me))
    for _ in range(2):
        retired = await client.post(f"{PATH}/{plan['id']}/retire", headers=staff)
        assert (retired.status_code, retired.json()["is_on_sale"], retired.json()["subscribers"]) == (200, False, 1)
    assert {one["active"] for one in await prices_of(at_stripe, plan["id"])} == {False}
    assert (await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me)).status_code == 404
    [subscription] = await shopper.at_stripe()
    await shopper.goes_to(subscription["items"]["data"][0]["current_period_end"] + 2 * 3600)
    assert [one["amount"]["amount"] for one in await shopper.items("/api/v1/payments")] == [4900, 4900]
    [license_] = (await shopper.licenses()).values()
    assert (license_["status"], license_["plan"]) == ("active", plan["name"])


@pytest.mark.usefixtures("on_sale")
async def test_while_stripe_does_not_answer_a_plan_is_kept_and_not_sold(
    client: Client, staff: Headers, shopper: Shopper, database: Database, stripe: StripeGateway
) -> None:
    fault = {"kind": "status", "status": 500, "method": "POST", "path": "/v1/p*", "times": 20}
    (await shopper.browser.post(f"{shopper.stripe}/_sim/faults", json=fault)).raise_for_status()
    try:
        plan = await made(client, staff)
    finally:
        await shopper.browser.delete(f"{shopper.stripe}/_sim/faults")
    assert plan["is_published"] is False
    order = {"plan_id": plan["id"], "interval": "month"}
    assert (await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me)).status_code == 503
    assert await PlanService(database).publish(stripe) == 1
    assert (await client.post("/api/v1/checkout/sessions", json=order, headers=shopper.me)).status_code == 201


async def test_plans_are_shown_in_another_currency(client: Client, staff: Headers) -> None:
    prices = {"jpy": {"month": 7000, "year": 70000}, "kwd": {"month": 15000, "year": 150000}}
    plan = await made(client, staff, currency_prices=prices)
    for currency, amount in (("jpy", 7000), ("kwd", 15000)):
        page = (await client.get("/api/v1/plans", params={"currency": currency})).json()
        shown = [(one["id"], one["price_monthly"]) for one in page["items"]]
        assert shown == [(plan["id"], {"amount": amount, "currency": currency})]
    for wrong in ("xyz", "JPY", ""):
        answer = await client.get("/api/v1/plans", params={"currency": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "currency")


async def test_a_license_is_issued_by_the_code_of_a_plan(client: Client, staff: Headers, desk: Desk) -> None:
    plan, owner = await made(client, staff), await desk.a_user()
    order = {"email": f"{owner.hex}@example.com", "plan": plan["code"]}
    answer = await client.post("/api/v1/admin/licenses", json=order, headers=staff)
    assert answer.status_code == 201, answer.text
    shown = await client.get(f"/api/v1/admin/licenses/{answer.json()['id']}", headers=staff)
    assert (shown.json()["plan"], shown.json()["max_domains"]) == (plan["name"], 7)
    unknown = await client.post("/api/v1/admin/licenses", json=order | {"plan": "no-such-plan"}, headers=staff)
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (400, "plan")


async def test_the_same_key_makes_one_plan(client: Client, staff: Headers, database_urls: DatabaseUrls) -> None:
    body, headers = a_plan(), staff | {"Idempotency-Key": "one plan"}
    first, second = [await client.post(PATH, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (201, second.json())
    other = await client.post(PATH, json=body | {"price_monthly": 5000}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(await rows(database_urls, "SELECT 1 FROM plans WHERE code = :code", code=body["code"])) == 1


@pytest.mark.parametrize("same", ["code", "name"])
async def test_code_and_name_are_of_one_plan(client: Client, staff: Headers, same: str) -> None:
    first = await made(client, staff)
    answer = await client.post(PATH, json=a_plan(**{same: first[same]}), headers=staff)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (409, same)
    if same == "name":
        second = await made(client, staff)
        edited = await client.patch(f"{PATH}/{second['id']}", json={"name": first["name"]}, headers=staff)
        assert edited.status_code == 409


@pytest.mark.parametrize(
    ("wrong", "field", "status"),
    [
        ({"price_monthly": 0}, "price_monthly", 400),
        ({"price_monthly": -100}, "price_monthly", 400),
        ({"price_yearly": 10**12}, "price_yearly", 400),
        ({"price_monthly": 49.5}, "price_monthly", 400),
        ({"price_monthly": 49}, "price_monthly", 422),
        ({"currency": "xyz"}, "currency", 400),
        ({"currency_prices": {"xyz": {"month": 500, "year": 500}}}, None, 400),
        ({"currency_prices": {"eur": {"month": 500}}}, None, 400),
        ({"currency_prices": {"usd": {"month": 500, "year": 500}}}, "currency_prices.usd", 422),
        ({"currency_prices": {"kwd": {"month": 1505, "year": 15000}}}, "currency_prices.kwd.month", 422),
        ({"currency_prices": {"jpy": {"month": 49, "year": 15000}}}, "currency_prices.jpy.month", 422),
        ({"code": "Has Spaces"}, "code", 400),
        ({"name": ""}, "name", 400),
        ({"trial_days": 0}, "trial_days", 400),
        ({"trial_days": 731}, "trial_days", 400),
        ({"max_domains": -1}, "max_domains", 400),
        ({"license_type": "gold"}, "license_type", 400),
        ({"stripe_price_id_monthly": "price_1"}, "stripe_price_id_monthly", 400),
    ],
)
async def test_what_cannot_be_sold_is_refused(
    client: Client, staff: Headers, wrong: dict[str, Any], field: str | None, status: int
) -> None:
    body = a_plan(**wrong)
    answer = await client.post(PATH, json=body, headers=staff)
    assert answer.status_code == status, answer.text
    named = [one["field"] for one in answer.json()["errors"]]
    assert named
    if field is not None:
        assert field in named
    listed = (await client.get(PATH, headers=staff)).json()["items"]
    assert body["code"] not in {one["code"] for one in listed}


async def test_an_edit_that_cannot_be_sold_changes_nothing(client: Client, staff: Headers) -> None:
    plan = await made(client, staff)
    for wrong in ({"price_monthly": 10}, {"code": "another"}, {"currency": "eur"}, {"price_yearly": None}):
        answer = await client.patch(f"{PATH}/{plan['id']}", json=wrong, headers=staff)
        assert answer.status_code in {400, 422}
    seen = (await client.get(f"{PATH}/{plan['id']}", headers=staff)).json()
    assert {name: seen[name] for name in plan} == plan
    unknown = await client.patch(f"{PATH}/{new_id()}", json={"name": "Nobody's"}, headers=staff)
    assert unknown.status_code == 404


async def test_publishing_again_changes_nothing(
    client: Client,
    staff: Headers,
    database: Database,
    stripe: StripeGateway,
    at_stripe: tuple[httpx.AsyncClient, str],
) -> None:
    plan = await made(client, staff, currency_prices={"gbp": {"month": 3900, "year": 39000}})
    await PlanService(database).publish(stripe)
    before = await prices_of(at_stripe, plan["id"])
    assert await PlanService(database).publish(stripe) == 0
    assert await prices_of(at_stripe, plan["id"]) == before
