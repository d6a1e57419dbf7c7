"""More licenses are paid and issued at once; fewer end with the period, and their owner says which."""

import asyncio
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.billing_api.commerce.conftest import Shoppers
from tests.billing_api.commerce.shop import SUBSCRIPTIONS, Shopper
from tests.support.stripe import objects

pytestmark = pytest.mark.usefixtures("on_sale")


async def wish(shopper: Shopper, one: dict[str, Any], plan: str = "Starter", **more: Any) -> dict[str, Any]:
    plans = (await shopper.client.get("/api/v1/plans")).json()["items"]
    plan_id = next(found["id"] for found in plans if found["name"] == plan)
    return {"plan_id": plan_id, "interval": one["interval"], **more}


async def ask(shopper: Shopper, one: dict[str, Any], verb: str, plan: str = "Starter", **more: Any) -> httpx.Response:
    body = await wish(shopper, one, plan, **more)
    return await shopper.client.post(f"{SUBSCRIPTIONS}/{one['id']}/{verb}", json=body, headers=shopper.me)


async def done(shopper: Shopper, one: dict[str, Any], verb: str, plan: str = "Starter", **more: Any) -> dict[str, Any]:
    answer = await ask(shopper, one, verb, plan, **more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def charged(shopper: Shopper) -> list[int]:
    """The newest first."""
    return [one["amount"]["amount"] for one in await shopper.items("/api/v1/payments")]


async def standing(shopper: Shopper, license_ids: list[str]) -> list[str]:
    licenses = await shopper.licenses()
    return [licenses[one]["status"] for one in license_ids]


async def next_period(shopper: Shopper) -> None:
    [at_stripe] = await shopper.at_stripe()
    await shopper.goes_to(at_stripe["items"]["data"][0]["current_period_end"] + 2 * 3600)


async def test_more_are_charged_as_previewed_and_issued_at_once(shopper: Shopper) -> None:
    bought = await shopper.buys()
    seen = await done(shopper, bought, "preview-change", quantity=3)
    assert (seen["direction"], seen["quantity"], seen["price"]["amount"]) == ("upgrade", 3, 8700)
    assert sum(line["amount"]["amount"] for line in seen["lines"]) == seen["due_now"]["amount"]
    assert seen["next_invoice"]["amount"]["amount"] == 8700
    now = await done(shopper, bought, "change", quantity=3, proration_date=seen["proration_date"])
    assert (now["quantity"], len(set(now["license_ids"])), now["license_id"]) == (3, 3, bought["license_id"])
    assert await charged(shopper) == [seen["due_now"]["amount"], 2900]
    licenses = await shopper.licenses()
    assert {one["expiry_date"] for one in licenses.values()} == {now["current_period_end"]}
    assert now["next_invoice"]["amount"]["amount"] == 8700
    await next_period(shopper)
    assert (await charged(shopper))[0] == 8700


async def test_more_are_not_issued_while_the_card_is_declined(shopper: Shopper) -> None:
    bought = await shopper.buys()
    [at_stripe] = await shopper.at_stripe()
    bad = await shopper.ask_stripe(
        "POST", "payment_methods/pm_card_chargeCustomerFail/attach", customer=at_stripe["customer"]
    )
    await shopper.ask_stripe("POST", f"subscriptions/{at_stripe['id']}", default_payment_method=bad["id"])
    answer = await ask(shopper, bought, "change", quantity=5)
    assert (answer.status_code, answer.json()["code"]) == (402, "payment_declined")
    await shopper.told()
    [now] = await shopper.subscriptions()
    assert (now["quantity"], len(await shopper.licenses()), now["pending_change"]) == (1, 1, None)
    [still] = await shopper.at_stripe()
    assert still["items"]["data"][0]["quantity"] == 1


async def test_more_and_a_larger_plan_come_together(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=2)
    now = await done(shopper, bought, "change", "Professional", quantity=3)
    assert (now["plan"], now["quantity"]) == ("Professional", 3)
    assert {one["plan"] for one in (await shopper.licenses()).values()} == {"Professional"}


async def test_a_larger_plan_keeps_the_number(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=2)
    now = await done(shopper, bought, "change", "Professional")
    assert (now["plan"], now["quantity"], now["license_ids"]) == ("Professional", 2, bought["license_ids"])
    [at_stripe] = await shopper.at_stripe()
    assert at_stripe["items"]["data"][0]["quantity"] == 2


async def test_fewer_end_with_the_period_those_that_were_named_and_no_money_goes_back(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=3)
    first, second, third = bought["license_ids"]
    seen = await done(shopper, bought, "preview-change", quantity=1, end_license_ids=[first, third])
    assert (seen["direction"], seen["due_now"]["amount"]) == ("downgrade", 0)
    now = await done(shopper, bought, "change", quantity=1, end_license_ids=[first, third])
    assert (now["quantity"], now["pending_change"]["quantity"]) == (3, 1)
    assert now["pending_change"]["takes_effect_at"] == bought["current_period_end"]
    assert now["next_invoice"]["amount"]["amount"] == 2900
    assert await standing(shopper, bought["license_ids"]) == ["active"] * 3
    await next_period(shopper)
    assert await standing(shopper, bought["license_ids"]) == ["cancelled", "active", "cancelled"]
    [after] = await shopper.subscriptions()
    assert (after["quantity"], after["license_id"], after["license_ids"]) == (1, second, [second])
    assert (await charged(shopper), after["pending_change"]) == ([2900, 8700], None)
    customer = await shopper.customer()
    owed = await objects(shopper.browser, shopper.stripe, f"customers/{customer}/balance_transactions")
    assert owed == []


async def test_fewer_that_were_withdrawn_end_nothing(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=2)
    await done(shopper, bought, "change", quantity=1, end_license_ids=bought["license_ids"][:1])
    answer = await shopper.client.post(f"{SUBSCRIPTIONS}/{bought['id']}/resume", headers=shopper.me)
    assert (answer.status_code, answer.json()["pending_change"]) == (200, None)
    assert {one["auto_renew"] for one in (await shopper.licenses()).values()} == {True}
    await next_period(shopper)
    assert await standing(shopper, bought["license_ids"]) == ["active", "active"]
    assert await charged(shopper) == [5800, 5800]


@pytest.mark.parametrize("named", [[], [0], [0, 0], [0, 1, 2], ["other", 0], ["unknown", 0]])
async def test_fewer_need_exactly_as_many_of_its_own(shoppers: Shoppers, shopper: Shopper, named: list[Any]) -> None:
    bought = await shopper.buys(quantity=3)
    ids: dict[Any, str] = {"unknown": str(new_id()), **dict(enumerate(bought["license_ids"]))}
    if "other" in named:
        ids["other"] = (await (await shoppers()).buys())["license_id"]
    wanted = [ids[one] for one in named]
    answer = await ask(shopper, bought, "change", quantity=1, end_license_ids=wanted)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "name_those_that_end")
    assert [one["field"] for one in problem["errors"]] == ["end_license_ids"]
    [now] = await shopper.subscriptions()
    assert (now["quantity"], now["pending_change"]) == (3, None)


async def test_none_is_named_where_none_ends(shopper: Shopper) -> None:
    bought = await shopper.buys()
    for number in (1, 2):
        more = {"quantity": number, "end_license_ids": bought["license_ids"]}
        for verb in ("preview-change", "change"):
            answer = await ask(shopper, bought, verb, **more)
            assert (answer.status_code, answer.json()["code"]) == (422, "name_those_that_end")


async def test_plan_and_number_do_not_go_different_ways(shopper: Shopper) -> None:
    bought = await shopper.buys("Professional", quantity=2)
    for verb in ("preview-change", "change"):
        answer = await ask(shopper, bought, verb, "Starter", quantity=3)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "quantity")


async def test_the_same_number_is_no_change(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=2)
    answer = await ask(shopper, bought, "change", quantity=2)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_of_two_wishes_at_once_each_is_carried_out_or_refused(shopper: Shopper) -> None:
    bought = await shopper.buys()
    answers = await asyncio.gather(*(ask(shopper, bought, "change", quantity=number) for number in (2, 3)))
    assert {answer.status_code for answer in answers} <= {200, 409, 503}
    await shopper.told()
    [now] = await shopper.subscriptions()
    [at_stripe] = await shopper.at_stripe()
    assert now["quantity"] == at_stripe["items"]["data"][0]["quantity"] == len(await shopper.licenses())


async def test_the_same_key_issues_once(shopper: Shopper) -> None:
    bought = await shopper.buys()
    body, headers = await wish(shopper, bought, quantity=2), shopper.me | {"Idempotency-Key": "two"}
    path = f"{SUBSCRIPTIONS}/{bought['id']}/change"
    first, second = [await shopper.client.post(path, json=body, headers=headers) for _ in range(2)]
    assert (first.status_code, first.json()) == (200, second.json())
    other = await shopper.client.post(path, json=body | {"quantity": 3}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    assert len(await shopper.licenses()) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0},
        {"quantity": -3},
        {"quantity": 2.5},
        {"quantity": 10**9},
        {"quantity": "many"},
        {"end_license_ids": ["x"]},
        {"end_license_ids": "all"},
        {"seats": 4},
    ],
)
@pytest.mark.parametrize("verb", ["preview-change", "change"])
async def test_malformed_wishes_are_400(shopper: Shopper, wrong: dict[str, Any], verb: str) -> None:
    bought = await shopper.buys()
    answer = await ask(shopper, bought, verb, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    [now] = await shopper.subscriptions()
    assert (now["quantity"], now["pending_change"]) == (1, None)


async def test_one_that_has_ended_is_not_changed(shopper: Shopper) -> None:
    bought = await shopper.buys()
    await shopper.ends()
    answer = await ask(shopper, bought, "change", quantity=2)
    assert answer.status_code == 409
    assert len(await shopper.licenses()) == 1


@pytest.mark.usefixtures("with_trial")
async def test_a_trial_is_not_changed(shopper: Shopper) -> None:
    tried = await shopper.buys(trial=True)
    answer = await ask(shopper, tried, "change", quantity=2)
    assert (answer.status_code, "trial" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize("kind", ["drop", "drop_after_effect"])
async def test_an_answer_that_was_lost_is_one_charge_and_one_more_license(shopper: Shopper, kind: str) -> None:
    bought = await shopper.buys()
    body, headers = await wish(shopper, bought, quantity=2), shopper.me | {"Idempotency-Key": "lost"}
    path = f"{SUBSCRIPTIONS}/{bought['id']}/change"
    fault = {"kind": kind, "method": "POST", "path": "/v1/subscriptions/*", "times": 3}
    (await shopper.browser.post(f"{shopper.stripe}/_sim/faults", json=fault)).raise_for_status()
    assert (await shopper.client.post(path, json=body, headers=headers)).status_code >= 500
    (await shopper.browser.delete(f"{shopper.stripe}/_sim/faults")).raise_for_status()
    again = await shopper.client.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()["quantity"]) == (200, 2)
    assert (len(await charged(shopper)), len(await shopper.licenses())) == (2, 2)
