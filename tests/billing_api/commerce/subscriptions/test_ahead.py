"""What a subscription tells of the money ahead: its discount, its next invoice, and what is open."""

import pytest

from tests.billing_api.commerce.conftest import Shoppers
from tests.billing_api.commerce.shop import Shopper

CHARGE_FAILS = "4000000000000341"
ASKS_AT_RENEWALS = "4000002760003184"

pytestmark = pytest.mark.usefixtures("on_sale")


async def seen(shopper: Shopper) -> dict[str, object]:
    """The subscription, which the list and the single read tell alike."""
    [listed] = await shopper.subscriptions()
    one = await shopper.client.get(f"/api/v1/subscriptions/{listed['id']}", headers=shopper.me)
    assert one.json() == listed
    return listed


def usd(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


async def renewed(shopper: Shopper) -> None:
    [at_stripe] = await shopper.at_stripe()
    await shopper.goes_to(at_stripe["items"]["data"][0]["current_period_end"] + 2 * 3600)


async def test_a_plain_one_renews_at_its_price(shopper: Shopper) -> None:
    await shopper.buys(quantity=2)
    one = await seen(shopper)
    assert one["next_invoice"] == {"amount": usd(5800), "at": one["current_period_end"]}
    assert (one["discount"], one["open_payment"], one["ends_at"]) == (None, None, None)


async def test_a_code_for_one_invoice_reduces_no_other(shopper: Shopper) -> None:
    code = await shopper.a_code({"percent_off": 25, "duration": "once"})
    await shopper.buys(promotion_code=code)
    one = await seen(shopper)
    assert (one["discount"], one["next_invoice"]) == (None, {"amount": usd(2900), "at": one["current_period_end"]})


async def test_a_code_for_three_months_is_told_until_it_ends(shopper: Shopper) -> None:
    code = await shopper.a_code({"percent_off": 25, "duration": "repeating", "duration_in_months": 3})
    await shopper.buys(promotion_code=code)
    charged = []
    for _ in range(4):
        one = await seen(shopper)
        charged.append(one["next_invoice"]["amount"]["amount"])  # type: ignore[index]  # a JSON object
        told = one["discount"]
        if charged[-1] == 2175:
            assert isinstance(told, dict)
            assert (told["code"], told["percent_off"], told["amount_off"]) == (code, 25, None)
            assert (told["duration"], told["ends_at"] > one["current_period_start"]) == ("repeating", True)
        await renewed(shopper)
    assert charged == [2175, 2175, 2900, 2900]
    assert (await seen(shopper))["discount"] is None
    paid = [one["amount"]["amount"] for one in await shopper.items("/api/v1/payments")]
    assert paid == [2900, 2900, 2175, 2175, 2175]


async def test_an_amount_off_is_told_as_money(shopper: Shopper) -> None:
    code = await shopper.a_code({"amount_off": 500, "currency": "usd", "duration": "forever"})
    await shopper.buys(promotion_code=code)
    one = await seen(shopper)
    assert one["discount"] == {
        "code": code,
        "percent_off": None,
        "amount_off": usd(500),
        "duration": "forever",
        "ends_at": None,
    }
    assert one["next_invoice"] == {"amount": usd(2400), "at": one["current_period_end"]}


async def test_credit_pays_of_the_next_invoice(shopper: Shopper) -> None:
    await shopper.order()
    customer = await shopper.customer()
    await shopper.ask_stripe("POST", f"customers/{customer}/balance_transactions", amount=-3900, currency="usd")
    await shopper.buys()
    one = await seen(shopper)
    assert one["next_invoice"] == {"amount": usd(1900), "at": one["current_period_end"]}


@pytest.mark.parametrize(("card", "reason"), [(CHARGE_FAILS, "declined"), (ASKS_AT_RENEWALS, "action_required")])
async def test_a_failed_renewal_is_open_until_it_is_paid(shopper: Shopper, card: str, reason: str) -> None:
    await shopper.buys()
    [at_stripe] = await shopper.at_stripe()
    methods = {CHARGE_FAILS: "pm_card_chargeCustomerFail", ASKS_AT_RENEWALS: "pm_card_authenticationRequired"}
    method = await shopper.ask_stripe("POST", f"payment_methods/{methods[card]}/attach", customer=at_stripe["customer"])
    await shopper.ask_stripe("POST", f"subscriptions/{at_stripe['id']}", default_payment_method=method["id"])
    await renewed(shopper)
    one = await seen(shopper)
    told = one["open_payment"]
    assert isinstance(told, dict)
    assert (one["status"], told["amount"], told["reason"]) == ("past_due", usd(2900), reason)
    assert told["url"].startswith("http")
    assert told["next_attempt_at"] > one["current_period_start"]
    good = await shopper.ask_stripe("POST", "payment_methods/pm_card_visa/attach", customer=at_stripe["customer"])
    answer = await shopper.client.post(
        f"/api/v1/subscriptions/{one['id']}/pay", json={"payment_method_id": good["id"]}, headers=shopper.me
    )
    assert answer.json()["status"] == "paid", answer.text
    await shopper.told()
    assert (await seen(shopper))["open_payment"] is None


async def test_who_leaves_has_no_next_invoice(shopper: Shopper) -> None:
    bought = await shopper.buys()
    await shopper.client.post(f"/api/v1/subscriptions/{bought['id']}/cancel", headers=shopper.me)
    one = await seen(shopper)
    assert (one["ends_at"], one["next_invoice"]) == (bought["current_period_end"], None)


async def test_an_end_in_the_middle_of_a_period_is_told(shopper: Shopper) -> None:
    await shopper.buys()
    [at_stripe] = await shopper.at_stripe()
    end = at_stripe["items"]["data"][0]["current_period_end"] - 5 * 24 * 3600
    await shopper.ask_stripe("POST", f"subscriptions/{at_stripe['id']}", cancel_at=end)
    await shopper.told()
    one = await seen(shopper)
    assert str(one["ends_at"]) < str(one["current_period_end"])
    assert one["next_invoice"] is None


@pytest.mark.usefixtures("in_euro")
async def test_money_ahead_is_in_the_currency_of_the_purchase(shopper: Shopper) -> None:
    await shopper.buys(currency="eur", quantity=2)
    one = await seen(shopper)
    assert one["next_invoice"] == {"amount": {"amount": 5400, "currency": "eur"}, "at": one["current_period_end"]}


async def test_another_customers_subscription_does_not_exist(shoppers: Shoppers, shopper: Shopper) -> None:
    bought = await shopper.buys()
    other = await shoppers()
    answer = await other.client.get(f"/api/v1/subscriptions/{bought['id']}", headers=other.me)
    assert answer.status_code == 404
