"""Coupons and promotion codes: staff make them, customers use them, and Stripe keeps them."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.billing_api.commerce.conftest import Shoppers
from tests.billing_api.commerce.shop import Shopper
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

COUPONS = "/api/v1/admin/coupons"
CODES = "/api/v1/admin/promotion-codes"

pytestmark = pytest.mark.usefixtures("on_sale")


@pytest.fixture
async def staff(desk: Desk) -> Headers:
    return await desk.staff()


def a_coupon(**changes: Any) -> dict[str, Any]:
    return {"name": "Welcome", "percent_off": 25, "duration": "once"} | changes


def a_code(coupon_id: str, **changes: Any) -> dict[str, Any]:
    return {"coupon_id": coupon_id, "code": f"W{new_id().hex[-12:]}"} | changes


async def posted(client: Client, path: str, body: dict[str, Any], headers: Headers) -> dict[str, Any]:
    answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def every(client: Client, path: str, staff: Headers) -> dict[str, dict[str, Any]]:
    """The newest hundred, by id."""
    answer = await client.get(path, headers=staff)
    assert answer.status_code == 200, answer.text
    return {one["id"]: one for one in answer.json()["items"]}


async def paid(shopper: Shopper) -> list[int]:
    return [one["amount"]["amount"] for one in await shopper.items("/api/v1/payments")]


def named(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the field of the first error."""
    return answer.status_code, answer.json()["errors"][0]["field"]


async def test_a_code_is_made_used_and_counted(client: Client, staff: Headers, shopper: Shopper) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    code = await posted(client, CODES, a_code(coupon["id"], max_redemptions=5), staff)
    assert (code["coupon_id"], code["is_active"], code["times_redeemed"]) == (coupon["id"], True, 0)
    await shopper.buys(promotion_code=code["code"])
    assert await paid(shopper) == [2175]
    assert (await every(client, CODES, staff))[code["id"]]["times_redeemed"] == 1
    assert (await every(client, COUPONS, staff))[coupon["id"]]["times_redeemed"] == 1


async def test_an_amount_off_for_months(client: Client, staff: Headers, shopper: Shopper) -> None:
    off = {"percent_off": None, "amount_off": {"amount": 500, "currency": "usd"}}
    wanted = a_coupon(**off, duration="repeating", duration_in_months=2)
    coupon = await posted(client, COUPONS, wanted, staff)
    assert (coupon["amount_off"], coupon["duration_in_months"]) == ({"amount": 500, "currency": "usd"}, 2)
    code = await posted(client, CODES, a_code(coupon["id"]), staff)
    bought = await shopper.buys(promotion_code=code["code"])
    assert (bought["discount"]["code"], bought["next_invoice"]["amount"]["amount"]) == (code["code"], 2400)


async def test_a_code_for_one_customer_and_a_least_amount(
    client: Client, staff: Headers, shoppers: Shoppers, shopper: Shopper
) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    minimum = {"amount": 5000, "currency": "usd"}
    wanted = a_code(coupon["id"], user_id=str(shopper.user_id), minimum=minimum, first_purchase=True)
    code = await posted(client, CODES, wanted, staff)
    assert (code["user_id"], code["minimum"], code["first_purchase"]) == (str(shopper.user_id), minimum, True)
    other = await (await shoppers()).order("Professional", promotion_code=code["code"])
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "unknown")
    little = await shopper.order(promotion_code=code["code"])
    assert (little.status_code, little.json()["errors"][0]["code"]) == (422, "too_small")
    await shopper.buys(promotion_code=code["code"], quantity=2)
    assert await paid(shopper) == [4350]
    again = await shopper.order("Professional", promotion_code=code["code"])
    assert again.json()["errors"][0]["code"] == "first_purchase_only"


async def test_a_code_is_switched_off_and_on(client: Client, staff: Headers, shopper: Shopper) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    code = await posted(client, CODES, a_code(coupon["id"]), staff)
    for active, status in ((False, 422), (True, 201)):
        switched = await client.patch(f"{CODES}/{code['id']}", json={"is_active": active}, headers=staff)
        assert (switched.status_code, switched.json()["is_active"]) == (200, active)
        assert (await shopper.order(promotion_code=code["code"])).status_code == status


async def test_a_deleted_coupon_is_given_no_more_and_stays_where_it_is(
    client: Client, staff: Headers, shopper: Shopper
) -> None:
    coupon = await posted(client, COUPONS, a_coupon(duration="forever"), staff)
    code = await posted(client, CODES, a_code(coupon["id"]), staff)
    await shopper.buys(promotion_code=code["code"])
    assert (await client.delete(f"{COUPONS}/{coupon['id']}", headers=staff)).status_code == 204
    assert coupon["id"] not in await every(client, COUPONS, staff)
    assert (await shopper.order(promotion_code=code["code"])).status_code == 422
    assert (await shopper.subscriptions())[0]["next_invoice"]["amount"]["amount"] == 2175


async def test_the_same_key_makes_one(client: Client, staff: Headers, database_urls: DatabaseUrls) -> None:
    body, headers = a_coupon(), staff | {"Idempotency-Key": "one coupon"}
    first, second = [await client.post(COUPONS, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (201, second.json())
    other = await client.post(COUPONS, json=body | {"percent_off": 50}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    acts = await rows(database_urls, "SELECT target_id FROM audit_log WHERE action = 'coupon.created'")
    assert [one["target_id"] for one in acts] == [first.json()["id"]]


@pytest.mark.parametrize("kind", ["drop", "drop_after_effect"])
async def test_an_answer_of_stripe_that_was_lost_makes_no_second_coupon(
    client: Client, staff: Headers, shopper: Shopper, kind: str
) -> None:
    body, headers = a_coupon(name=f"Lost {new_id().hex[-8:]}"), staff | {"Idempotency-Key": "lost"}
    fault = {"kind": kind, "method": "POST", "path": "/v1/coupons", "times": 3}
    (await shopper.browser.post(f"{shopper.stripe}/_sim/faults", json=fault)).raise_for_status()
    assert (await client.post(COUPONS, json=body, headers=headers)).status_code == 502
    (await shopper.browser.delete(f"{shopper.stripe}/_sim/faults")).raise_for_status()
    await posted(client, COUPONS, body, headers)
    found = await every(client, COUPONS, staff)
    assert [one["name"] for one in found.values()].count(body["name"]) == 1


async def test_a_code_in_use_is_not_made_again(client: Client, staff: Headers) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    code = await posted(client, CODES, a_code(coupon["id"]), staff)
    again = await client.post(CODES, json=a_code(coupon["id"], code=code["code"].lower()), headers=staff)
    assert named(again) == (409, "code")


@pytest.mark.parametrize(
    ("wrong", "field", "status"),
    [
        ({"percent_off": 0}, "percent_off", 400),
        ({"percent_off": 101}, "percent_off", 400),
        ({"percent_off": -5}, "percent_off", 400),
        ({"percent_off": None}, "percent_off", 422),
        ({"amount_off": {"amount": 5, "currency": "usd"}}, "percent_off", 422),
        ({"percent_off": None, "amount_off": {"amount": 1.5, "currency": "usd"}}, "amount_off.amount", 400),
        ({"percent_off": None, "amount_off": {"amount": 10**12, "currency": "usd"}}, "amount_off.amount", 400),
        ({"percent_off": None, "amount_off": {"amount": 5, "currency": "xyz"}}, "amount_off.currency", 400),
        ({"duration": "repeating"}, "duration_in_months", 422),
        ({"duration_in_months": 3}, "duration_in_months", 422),
        ({"duration": "sometimes"}, "duration", 400),
        ({"max_redemptions": 0}, "max_redemptions", 400),
        ({"redeem_by": "2020-01-01T00:00:00Z"}, "redeem_by", 422),
        ({"redeem_by": "tomorrow"}, "redeem_by", 400),
        ({"name": ""}, "name", 400),
        ({"id": "mine"}, "id", 400),
    ],
)
async def test_what_is_no_coupon_is_refused(
    client: Client, staff: Headers, wrong: dict[str, Any], field: str, status: int
) -> None:
    answer = await client.post(COUPONS, json=a_coupon(**wrong), headers=staff)
    assert answer.status_code == status, answer.text
    assert field in [one["field"] for one in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("wrong", "field", "status"),
    [
        ({"coupon_id": "nosuchcoupon"}, "coupon_id", 422),
        ({"coupon_id": "../customers"}, "coupon_id", 400),
        ({"code": "has spaces"}, "code", 400),
        ({"code": "x"}, "code", 400),
        ({"user_id": "019ab3f0-5d3a-7c11-8f0e-2f6d1b7a9c01"}, "user_id", 422),
        ({"user_id": "cus_1"}, "user_id", 400),
        ({"minimum": {"amount": 0, "currency": "usd"}}, "minimum.amount", 400),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at", 422),
        ({"max_redemptions": -1}, "max_redemptions", 400),
        ({"active": False}, "active", 400),
    ],
)
async def test_what_is_no_code_is_refused(
    client: Client, staff: Headers, wrong: dict[str, Any], field: str, status: int
) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    answer = await client.post(CODES, json=a_code(coupon["id"]) | wrong, headers=staff)
    assert answer.status_code == status, answer.text
    assert field in [one["field"] for one in answer.json()["errors"]]


async def test_what_is_not_there_is_404(client: Client, staff: Headers) -> None:
    assert (await client.delete(f"{COUPONS}/nosuchcoupon", headers=staff)).status_code == 404
    answer = await client.patch(f"{CODES}/promo_no", json={"is_active": True}, headers=staff)
    assert answer.status_code == 404
    for path in (COUPONS, CODES):
        unknown = await client.get(path, params={"after": "nosuchid"}, headers=staff)
        assert 400 <= unknown.status_code < 500
        assert (await client.get(path, params={"status": "valid"}, headers=staff)).status_code == 400


async def test_a_code_that_expires_says_when(client: Client, staff: Headers, clock: FakeTime) -> None:
    coupon = await posted(client, COUPONS, a_coupon(), staff)
    until = (clock.now + timedelta(days=3)).replace(microsecond=0)
    code = await posted(client, CODES, a_code(coupon["id"], expires_at=until.isoformat()), staff)
    assert code["expires_at"] == until.isoformat().replace("+00:00", "Z")
