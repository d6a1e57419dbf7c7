"""Orders in detail: several licenses, a code, another currency, a trial, and a license that comes back."""

from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.billing_api.commerce.conftest import Shoppers
from tests.billing_api.commerce.shop import Shopper
from tests.billing_api.conftest import FakeTime
from tests.support.databases import rows
from tests.support.servers import DatabaseUrls
from tests.support.stripe import pay

DAY = 24 * 3600

pytestmark = pytest.mark.usefixtures("on_sale")


def refused(answer: httpx.Response) -> tuple[int, str, str, str]:
    """Status, problem, and the first error's field and code."""
    problem = answer.json()
    [error] = problem["errors"]
    return answer.status_code, problem["code"], error["field"], error["code"]


async def paid(shopper: Shopper) -> list[int]:
    """What was charged, the newest first."""
    return [one["amount"]["amount"] for one in await shopper.items("/api/v1/payments")]


async def test_three_licenses_are_bought_renewed_and_ended_together(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=3)
    licenses = await shopper.licenses()
    assert (bought["quantity"], len(bought["license_ids"]), bought["license_ids"][0]) == (3, 3, bought["license_id"])
    assert set(licenses) == set(bought["license_ids"])
    assert await paid(shopper) == [8700]
    assert {(one["status"], one["subscription_id"]) for one in licenses.values()} == {("active", bought["id"])}
    [at_stripe] = await shopper.at_stripe()
    await shopper.goes_to(at_stripe["items"]["data"][0]["current_period_end"] + 2 * 3600)
    [renewed] = await shopper.subscriptions()
    ends = {one["expiry_date"] for one in (await shopper.licenses()).values()}
    assert ends == {renewed["current_period_end"]}
    assert renewed["current_period_end"] > bought["current_period_end"]
    await shopper.ends()
    assert {one["status"] for one in (await shopper.licenses()).values()} == {"cancelled"}
    [ended] = await shopper.subscriptions()
    assert (ended["status"], set(ended["license_ids"])) == ("cancelled", set(bought["license_ids"]))


async def test_each_of_several_licenses_has_a_key_and_an_account_of_its_own(
    shopper: Shopper, database_urls: DatabaseUrls
) -> None:
    bought = await shopper.buys(quantity=2)
    await shopper.told()
    keys = await rows(database_urls, "SELECT DISTINCT license_key_hash FROM licenses")
    jobs = await rows(database_urls, "SELECT job->>'license_id' AS id FROM outbox WHERE job->>'type' = 'provision'")
    assert len(keys) == 2
    assert sorted(one["id"] for one in jobs) == sorted(bought["license_ids"])


async def test_more_that_are_made_and_paid_at_stripe_are_issued_once(shopper: Shopper) -> None:
    await shopper.buys()
    [at_stripe] = await shopper.at_stripe()
    item = at_stripe["items"]["data"][0]["id"]
    form = {"items[0][id]": item, "items[0][quantity]": 3, "proration_behavior": "always_invoice"}
    await shopper.ask_stripe("POST", f"subscriptions/{at_stripe['id']}", **form)
    for _ in range(2):
        await shopper.told()
    [now] = await shopper.subscriptions()
    assert (now["quantity"], len(set(now["license_ids"])), len(await shopper.licenses())) == (3, 3, 3)


async def test_fewer_at_stripe_end_when_what_was_paid_is_over(shopper: Shopper) -> None:
    bought = await shopper.buys(quantity=3)
    [at_stripe] = await shopper.at_stripe()
    item = at_stripe["items"]["data"][0]
    form = {"items[0][id]": item["id"], "items[0][quantity]": 1, "proration_behavior": "none"}
    await shopper.ask_stripe("POST", f"subscriptions/{at_stripe['id']}", **form)
    await shopper.told()
    assert {one["status"] for one in (await shopper.licenses()).values()} == {"active"}
    await shopper.goes_to(item["current_period_end"] + 2 * 3600)
    licenses = await shopper.licenses()
    assert [licenses[one]["status"] for one in bought["license_ids"]] == ["active", "cancelled", "cancelled"]
    assert (await paid(shopper))[0] == 2900
    [now] = await shopper.subscriptions()
    assert (now["quantity"], now["license_ids"]) == (1, bought["license_ids"][:1])


async def test_a_promotion_code_is_applied_whatever_its_case(shopper: Shopper) -> None:
    code = await shopper.a_code({"percent_off": 25, "duration": "once"}, code=f"Spring{new_id().hex[:8]}")
    await shopper.buys(promotion_code=code.lower())
    assert await paid(shopper) == [2175]


@pytest.mark.parametrize(
    ("coupon", "code", "why"),
    [
        ({"percent_off": 10}, {"active": "false"}, "expired"),
        (
            {"percent_off": 10},
            {"restrictions[minimum_amount]": 2901, "restrictions[minimum_amount_currency]": "usd"},
            "too_small",
        ),
        ({"amount_off": 500, "currency": "eur"}, {}, "wrong_currency"),
        ({"percent_off": 10}, {"customer": "another"}, "unknown"),
        (None, {}, "unknown"),
    ],
)
async def test_a_code_that_may_not_be_used_is_refused_with_its_reason(
    shoppers: Shoppers, shopper: Shopper, coupon: dict[str, Any] | None, code: dict[str, Any], why: str
) -> None:
    if "customer" in code:
        other = await shoppers()
        await other.order()
        code = {"customer": await other.customer()}
    typed = "NOSUCHCODE" if coupon is None else await shopper.a_code({"duration": "once", **coupon}, **code)
    answer = await shopper.order(promotion_code=typed)
    assert refused(answer) == (422, "unprocessable", "promotion_code", why)
    assert await shopper.licenses() == {}


async def test_a_code_that_is_used_up_or_for_a_first_purchase_says_so(shoppers: Shoppers, shopper: Shopper) -> None:
    once = await shopper.a_code({"percent_off": 10, "duration": "once"}, max_redemptions=1)
    first = await shopper.a_code(
        {"percent_off": 10, "duration": "once"}, **{"restrictions[first_time_transaction]": "true"}
    )
    await shopper.buys(promotion_code=once)
    assert refused(await (await shoppers()).order(promotion_code=once))[-1] == "used_up"
    assert refused(await shopper.order(promotion_code=first))[-1] == "first_purchase_only"
    await (await shoppers()).buys(promotion_code=first)


async def test_a_code_that_has_expired_says_so(shopper: Shopper, clock: FakeTime) -> None:
    soon = int(clock.now.timestamp()) + DAY
    code = await shopper.a_code({"percent_off": 10, "duration": "once"}, expires_at=soon)
    clock.now = clock.now.fromtimestamp(soon + 1, clock.now.tzinfo)
    assert refused(await shopper.order(promotion_code=code))[-1] == "expired"


async def test_a_refused_code_does_not_lock_the_key_and_keeps_no_page_open(
    shopper: Shopper, database_urls: DatabaseUrls
) -> None:
    answer = await shopper.order(promotion_code="NOSUCHCODE")
    assert answer.status_code == 422
    assert await rows(database_urls, "SELECT status::text FROM checkout_sessions") == [{"status": "expired"}]


@pytest.mark.usefixtures("in_euro")
async def test_a_plan_is_bought_in_another_currency_and_its_customer_stays_there(shopper: Shopper) -> None:
    bought = await shopper.buys(currency="jpy")
    [payment] = await shopper.items("/api/v1/payments")
    assert payment["amount"] == {"amount": 4000, "currency": "jpy"}
    assert bought["status"] == "active"
    assert refused(await shopper.order(currency="eur")) == (422, "unprocessable", "currency", "not_one_of")
    await shopper.buys()
    assert {one["amount"]["currency"] for one in await shopper.items("/api/v1/payments")} == {"jpy"}


async def test_a_currency_in_which_a_plan_is_not_sold_is_refused(shopper: Shopper) -> None:
    assert refused(await shopper.order(currency="gbp")) == (422, "unprocessable", "currency", "not_one_of")


async def test_a_license_that_ended_is_bought_again_with_its_key(shopper: Shopper, database_urls: DatabaseUrls) -> None:
    key = "SELECT license_key_hash, account_generation FROM licenses"
    before = await shopper.buys()
    [first] = await rows(database_urls, key)
    await shopper.ends()
    again = await shopper.buys("Professional", license_id=before["license_id"])
    [second] = await rows(database_urls, key)
    assert (again["license_id"], again["id"] != before["id"]) == (before["license_id"], True)
    assert second["license_key_hash"] == first["license_key_hash"]
    assert second["account_generation"] == first["account_generation"] + 1
    [license_] = (await shopper.licenses()).values()
    assert (license_["status"], license_["plan"], license_["subscription_id"]) == (
        "active",
        "Professional",
        again["id"],
    )
    for _ in range(2):  # late events of the former subscription end nothing
        await shopper.told()
    assert [one["status"] for one in (await shopper.licenses()).values()] == ["active"]


async def test_only_what_has_ended_and_is_mine_is_bought_again(shoppers: Shoppers, shopper: Shopper) -> None:
    bought = await shopper.buys()
    running = await shopper.order(license_id=bought["license_id"])
    assert (running.status_code, running.json()["code"]) == (409, "conflict")
    await shopper.ends()
    other = await (await shoppers()).order(license_id=bought["license_id"])
    assert (other.status_code, other.json()["code"]) == (404, "not_found")
    several = await shopper.order(license_id=bought["license_id"], quantity=2)
    assert refused(several) == (422, "unprocessable", "quantity", "too_large")


async def test_of_two_paid_checkouts_that_name_one_license_the_second_is_another_license(shopper: Shopper) -> None:
    bought = await shopper.buys()
    await shopper.ends()
    pages = [await shopper.order(license_id=bought["license_id"]) for _ in range(2)]
    first, second = [await shopper.pays(page) for page in pages]
    assert first["license_id"] == bought["license_id"]
    assert second["license_id"] not in {None, bought["license_id"]}
    assert {one["status"] for one in (await shopper.licenses()).values()} == {"active"}


@pytest.mark.usefixtures("with_trial")
async def test_a_trial_costs_nothing_until_it_ends(shopper: Shopper) -> None:
    tried = await shopper.buys(trial=True)
    [license_] = (await shopper.licenses()).values()
    assert (tried["status"], tried["trial_ends_at"]) == ("trialing", tried["current_period_end"])
    assert (license_["status"], license_["expiry_date"]) == ("active", tried["current_period_end"])
    assert await paid(shopper) == []
    [at_stripe] = await shopper.at_stripe()
    await shopper.goes_to(at_stripe["trial_end"] + 2 * 3600)
    [running] = await shopper.subscriptions()
    assert (running["status"], await paid(shopper)) == ("active", [2900])
    [license_] = (await shopper.licenses()).values()
    assert license_["expiry_date"] == running["current_period_end"] > tried["current_period_end"]


@pytest.mark.usefixtures("with_trial")
async def test_a_trial_that_is_cancelled_ends_without_a_charge(shopper: Shopper) -> None:
    tried = await shopper.buys(trial=True)
    answer = await shopper.client.post(f"/api/v1/subscriptions/{tried['id']}/cancel", headers=shopper.me)
    assert (answer.status_code, answer.json()["ends_at"]) == (200, tried["trial_ends_at"])
    [at_stripe] = await shopper.at_stripe()
    await shopper.goes_to(at_stripe["trial_end"] + 2 * 3600)
    [ended] = await shopper.subscriptions()
    assert (ended["status"], await paid(shopper)) == ("cancelled", [])
    assert [one["status"] for one in (await shopper.licenses()).values()] == ["cancelled"]


@pytest.mark.usefixtures("with_trial")
async def test_a_trial_is_given_once_for_each_user(shopper: Shopper) -> None:
    await shopper.buys(trial=True)
    again = await shopper.order(trial=True)
    assert (again.status_code, again.json()["code"]) == (422, "trial_used")
    await shopper.buys()


@pytest.mark.usefixtures("with_trial")
async def test_a_trial_is_given_once_for_each_card(shoppers: Shoppers, shopper: Shopper) -> None:
    await shopper.buys(trial=True)
    other = await shoppers()
    page = await other.order(trial=True)
    assert await other.pays(page) == await other.checkout(page.json()["session_id"])
    seen = await other.checkout(page.json()["session_id"])
    assert (seen["status"], seen["refused_because"], seen["license_id"]) == ("expired", "trial_used", None)
    await other.told()
    assert (await other.licenses(), await paid(other)) == ({}, [])
    assert [one["status"] for one in await other.at_stripe()] == ["canceled"]
    third = await shoppers()
    assert (await third.pays(await third.order(trial=True), "5555555555554444"))["status"] == "complete"


@pytest.mark.usefixtures("with_trial")
async def test_two_trials_begun_at_once_are_one(shopper: Shopper) -> None:
    pages = [await shopper.order(trial=True) for _ in range(2)]
    seen = [
        await shopper.pays(page, card)
        for page, card in zip(pages, ("4242424242424242", "5555555555554444"), strict=True)
    ]
    assert [one["status"] for one in seen] == ["complete", "expired"]
    assert len(await shopper.licenses()) == 1


async def test_a_plan_without_a_trial_gives_none(shopper: Shopper) -> None:
    assert refused(await shopper.order(trial=True)) == (422, "unprocessable", "trial", "invalid")


@pytest.mark.usefixtures("with_trial")
@pytest.mark.parametrize("more", [{"quantity": 2}, {"again": True}])
async def test_a_trial_is_of_one_new_license(shopper: Shopper, more: dict[str, Any]) -> None:
    if more.pop("again", False):
        more["license_id"] = (await shopper.buys())["license_id"]
        await shopper.ends()
    assert refused(await shopper.order(trial=True, **more)) == (422, "unprocessable", "trial", "invalid")


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": 1.5},
        {"quantity": 10**12},
        {"quantity": "2"},
        {"quantity": None},
        {"currency": "US$"},
        {"currency": "USD"},
        {"promotion_code": ""},
        {"promotion_code": "x" * 65},
        {"promotion_code": 5},
        {"trial": "yes"},
        {"license_id": "mine"},
        {"amount": 1},
        {"success_url": "https://example.com"},
    ],
)
async def test_malformed_orders_are_400_and_leave_nothing(
    shopper: Shopper, database_urls: DatabaseUrls, wrong: dict[str, Any]
) -> None:
    answer = await shopper.order(**wrong)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["errors"][0]["field"] == next(iter(wrong))
    assert await rows(database_urls, "SELECT 1 FROM checkout_sessions") == []


async def test_a_declined_card_of_a_discounted_page_buys_nothing(shopper: Shopper) -> None:
    code = await shopper.a_code({"percent_off": 50, "duration": "once"})
    page = await shopper.order(promotion_code=code, quantity=2)
    assert (await pay(shopper.browser, page.json()["url"], "4000000000000002")).status_code == 402
    assert await shopper.licenses() == {}
    assert (await shopper.pays(page))["status"] == "complete"
    assert await paid(shopper) == [2900]
